// Package errand answers questions to a store that the asker cannot reach: a short-lived pod where the
// store is (package dispatch makes it) serves an Errand on its own loopback interface, the asker sends the
// question through a port-forward, and asks for the answer until it is there.
//
//	PUT /question    the question, once; the work begins
//	GET /answer      202 and a line on how far it is, or 200 and the answer with its digest behind it, or 422 and why not
package errand
