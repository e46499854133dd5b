// Package report makes the report of an AlignmentRun: a page that stands alone, with charts and videos.
//
// A Plan (PlanOf) names the artifacts of a run, Gather reads them from the store into a Bundle, Compose
// joins that with the run's status, and Render makes files of it. Gather runs where the store can be
// reached: in a pod of the run's namespace (Answer), or at hand (Command). PlanOf, Compose
// and Render are pure.
package report
