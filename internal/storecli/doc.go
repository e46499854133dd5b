// Package storecli holds the commands that work on a store at hand: lineage, verify and gc. kubectl align
// has commands of the same names that go through a pod; both print with this package.
package storecli
