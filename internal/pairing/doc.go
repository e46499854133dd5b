// Package pairing builds preference pairs from scored samples and draws from them.
//
// A sample wins with a score of at least the winner threshold and loses with one below the loser
// threshold. INVALID and missing samples are neither: they have no number to compare. Pairs are
// formed between the samples of one prompt within one iteration, never across iterations, where a
// late policy's winner against the base's loser would reward the policy's artefacts.
//
// The package imports the standard library only and does no I/O.
package pairing
