// Package guide reads docs/admin.md as its readers do: section by section, a command after the other.
package guide

import (
	"regexp"
	"slices"
	"strings"
)

// Command of the guide, with the lines that it shows after it.
type Command struct{ Section, Text, Shown string }

// block is lines that are indented, as code is.
var block = regexp.MustCompile(`(?m)(?:^    .*\n)+`)

// Commands of a page, or of some of its sections.
func Commands(page string, sections ...string) (commands []Command) {
	for part := range strings.SplitSeq("\n"+page, "\n## ") {
		title, text, _ := strings.Cut(part, "\n")
		if len(sections) > 0 && !slices.Contains(sections, title) {
			continue
		}
		for _, lines := range block.FindAllString(text+"\n", -1) {
			commands = append(commands, read(title, strings.Split(strings.TrimSuffix(lines, "\n"), "\n"))...)
		}
	}
	return commands
}

// Manifest is the block of a page that holds some words; nothing when there is none.
func Manifest(page, words string) string {
	for _, lines := range block.FindAllString(page, -1) {
		if strings.Contains(lines, words) {
			return regexp.MustCompile(`(?m)^    `).ReplaceAllString(lines, "")
		}
	}
	return ""
}

var begins = regexp.MustCompile(`^(\$|kubectl|helm|sed) `)

// read a block. It is of commands when it begins with one, or with a prompt; a quotation, or a backslash at the end, goes on in the next line.
func read(section string, block []string) (commands []Command) {
	open := false
	for i, line := range block {
		line = strings.TrimPrefix(line, "    ")
		switch {
		case open:
			commands[len(commands)-1].Text += "\n" + line
		case begins.MatchString(line):
			commands = append(commands, Command{Section: section, Text: strings.TrimPrefix(line, "$ ")})
		case i > 0:
			commands[len(commands)-1].Shown += line + "\n"
			continue
		default:
			return nil // a manifest, or what somebody says
		}
		open = strings.Count(commands[len(commands)-1].Text, "'")%2 == 1 || strings.HasSuffix(line, `\`)
	}
	return commands
}
