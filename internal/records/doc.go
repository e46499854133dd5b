// Package records reads the JSONL files that stages exchange: tracks, scores, pairs and indexes.
//
// Reading is strict: a line must have the fields of the contract, each once and within its bounds,
// and statuses, reasons and numbers must fit each other. Errors name the file, the line and the
// field. Prompts have a package of their own (internal/prompts). Files are written with jsonl.Encoder.
package records
