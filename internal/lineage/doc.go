// Package lineage holds what an iteration of a run was made of: it writes a record's model card, and reads
// records and the chain that they form from the store.
package lineage
