// Package jsonl reads and writes files of one JSON object per line, strictly and fast.
//
// Scanner decodes an object of a known shape. It refuses what encoding/json lets pass (unknown and
// repeated fields, names in another case, invalid UTF-8, null for a number) and says where. Lines
// and Parallel read files in bounded memory; every error names the file and the line.
package jsonl
