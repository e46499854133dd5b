// Package contract is what the controllers and a stage's container agree on, contract version v1.
//
// It holds types and pure functions only and imports nothing but the standard library, so that the
// operator, the stages and a runtime's own programs can all share it. docs/contract.md is the
// prose for people who write a runtime in another language.
package contract

// Version is the contract version that every spec and manifest carries.
const Version = "v1"
