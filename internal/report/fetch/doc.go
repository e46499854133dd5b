// Package fetch gets the bundle of a report out of a cluster, whatever the store: a short-lived pod in
// the run's namespace reads the store, and a port-forward under the user's own rights reads the pod.
package fetch
