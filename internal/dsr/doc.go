// Package dsr scores how well a video shows the dynamic spatial relationship of its prompt.
//
// A prompt names a subject that moves and an object that stays, the relation in which the subject
// starts and the one in which it ends. From the boxes of both over the frames of a video, Evaluate
// computes the DSR-Score of SpatialAlign (arXiv 2602.22745): a number in [0, 1], or INVALID with a
// reason. INVALID is a status and never a number, so that no sentinel can enter a mean.
//
// The package is pure geometry: it imports the standard library only and does no I/O.
package dsr
