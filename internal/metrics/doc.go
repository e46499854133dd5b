// Package metrics is what the operator tells Prometheus; docs/metrics.md says what each metric means.
//
// Counters follow from the difference between two statuses, old and new, once the new one is written: Difference. They grow
// by what was recorded, so that a restart neither forgets nor repeats anything but what a scraper did not fetch in time, and
// status remains the truth. Series of what is gone go an hour later. Gauges follow from what exists, when a scraper asks: Gauges.
//
// Labels are namespaces, runtimes of accepted objects, stages, and words of fixed lists: never the name of a run.
package metrics
