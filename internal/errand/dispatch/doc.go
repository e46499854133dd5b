// Package dispatch sends an errand into a cluster: a short-lived restricted pod in the namespace of the
// store's claim or Secret works on it, and a port-forward under the user's own rights carries question
// and answer. The pod is removed in the end, whatever happens.
package dispatch
