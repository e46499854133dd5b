// Package prompts reads, checks, generates and writes sets of prompts.
//
// A prompt names a subject, an object, a scene and a DSR type (see internal/dsr). Sets come from the
// published CSV files, from JSONL files of contract.PromptLine, or from Generate. What is read is
// checked at once, and errors name the file, the line and the column.
package prompts
