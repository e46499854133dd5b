// Package watch shows an AlignmentRun while it goes on: a screen that is redrawn in place, or plain
// lines where there is no terminal.
//
// Objects become a View (NewView), a View becomes lines (Screen, Facts, Table); these are pure
// functions. Watcher feeds them from informers, which survive a broken watch and a restarting API server.
package watch
