package house

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"ffwd/packet"
)

// pages are the documents of the house, by path.
func pages(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{}
	for _, pattern := range []string{"README.md", "docs/*.md", "docs/decisions/*.md"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatal(pattern, files, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			texts[file] = string(text)
		}
	}
	return texts
}

// code is all Go and assembly of the house in one piece.
func code(t *testing.T) []byte {
	t.Helper()
	var all bytes.Buffer
	for _, f := range sources(t) {
		text, err := os.ReadFile(f.path)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.Bytes()
}

var (
	quoted = regexp.MustCompile("`([^`\n]+)`")
	file   = regexp.MustCompile(`^[\w./*-]+\.(go|md|toml|sh|py|c|s)$`)
	method = regexp.MustCompile(`^(?:[a-z]\w*\.)?([A-Z]\w*)\.([A-Za-z]\w*)$`)
	probe  = regexp.MustCompile(`^(?:Test|Fuzz|Benchmark|Example)[A-Z]\w*`)
	link   = regexp.MustCompile(`\]\(([\w./-]+)\)`)
)

// exists tells whether a file of the house has this path, where * stands for anything.
func exists(path string) bool {
	found, err := filepath.Glob(path)
	return err == nil && len(found) > 0
}

// What a page names between back quotes exists: files, folders, methods, fields and
// tests. A file without its folder is one of a folder that the same page names.
func TestPagesNameWhatExists(t *testing.T) {
	all := code(t)
	checked := 0
	for page, text := range pages(t) {
		folders := []string{".", "docs"}
		for _, q := range quoted.FindAllStringSubmatch(text, -1) {
			name := strings.TrimSuffix(q[1], "/")
			if file.MatchString(name) && strings.Contains(name, "/") {
				folders = append(folders, filepath.Dir(name))
			} else if _, ours := floor[name]; ours {
				folders = append(folders, name)
			}
		}
		for _, q := range quoted.FindAllStringSubmatch(text, -1) {
			name := q[1]
			var found bool
			if m := method.FindStringSubmatch(name); m != nil {
				found = regexp.MustCompile(`(?m)^(func \(\w* ?\*?` + m[1] + `(\[\w+\])?\) |\t)` + m[2] + `\b`).Match(all)
			} else if m := probe.FindString(name); m != "" {
				found = regexp.MustCompile(`(?m)^func ` + m + `\(`).Match(all)
			} else if file.MatchString(name) {
				found = exists(name)
				for _, folder := range folders {
					found = found || !strings.Contains(name, "/") && exists(filepath.Join(folder, name))
				}
			} else if folder, is := strings.CutSuffix(name, "/"); is {
				found = exists(folder)
			} else {
				continue
			}
			checked++
			if !found {
				t.Errorf("%s names %s, which there is not", page, name)
			}
		}
		for _, l := range link.FindAllStringSubmatch(text, -1) {
			checked++
			if !exists(filepath.Join(filepath.Dir(page), l[1])) {
				t.Errorf("%s links to %s, which there is not", page, l[1])
			}
		}
	}
	if checked < 300 {
		t.Errorf("only %d names were looked at", checked)
	}
}

// docs/operations.md explains every reason to drop or punt, and invents none.
func TestReasonsAreExplained(t *testing.T) {
	page := pages(t)["docs/operations.md"]
	_, table, _ := strings.Cut(page, "\n## Drop and punt reasons\n")
	table, _, _ = strings.Cut(table, "\n## ")
	explained := map[string]bool{}
	for _, row := range strings.Split(table, "\n") {
		if cells := strings.Split(row, "|"); len(cells) > 2 {
			for _, q := range quoted.FindAllStringSubmatch(cells[1], -1) {
				explained[q[1]] = true
			}
		}
	}
	for r := packet.Reason(0); r < packet.NumReasons; r++ {
		if !explained[r.String()] {
			t.Errorf("docs/operations.md does not explain %s", r)
		}
		delete(explained, r.String())
	}
	for name := range explained {
		t.Errorf("docs/operations.md explains %s, which is no reason", name)
	}
}

// The figures in README.md are rows of docs/bench.md.
func TestFiguresAreThoseMeasured(t *testing.T) {
	texts := pages(t)
	_, section, _ := strings.Cut(texts["README.md"], "\n## How fast\n")
	section, _, _ = strings.Cut(section, "\n## ")
	rows := 0
	for _, line := range strings.Split(section, "\n") {
		if !strings.HasPrefix(line, "| ") {
			continue
		}
		rows++
		if !strings.Contains(texts["docs/bench.md"], line+"\n") {
			t.Errorf("README.md has a row that docs/bench.md has not: copy it anew\n%s", line)
		}
	}
	if rows < 4 {
		t.Errorf("README.md has %d rows of figures", rows)
	}
}

// The metrics and the paths of the API that the pages name are in the code, and
// docs/api.md has every path that there is.
func TestPagesNameWhatIsServed(t *testing.T) {
	all := code(t)
	metric := regexp.MustCompile(`\bffwd_[a-z_]+`)
	path := regexp.MustCompile(`/v1/[a-z/]+`)
	for page, text := range pages(t) {
		for _, name := range metric.FindAllString(text, -1) {
			if !bytes.Contains(all, []byte(`"`+name+`"`)) && !bytes.Contains(all, []byte(`"`+strings.TrimPrefix(name, "ffwd_")+`"`)) {
				t.Errorf("%s names the metric %s, which there is not", page, name)
			}
		}
		for _, name := range path.FindAllString(text, -1) {
			if !bytes.Contains(all, []byte(`"`+name+`"`)) {
				t.Errorf("%s names the path %s, which there is not", page, name)
			}
		}
	}
	api, err := os.ReadFile("control/api.go")
	if err != nil {
		t.Fatal(err)
	}
	served := path.FindAllString(string(api), -1)
	for _, name := range served {
		if !strings.Contains(pages(t)["docs/api.md"], " "+name) {
			t.Errorf("docs/api.md does not have %s", name)
		}
	}
	if len(served) < 15 {
		t.Errorf("only %d paths were found: %v", len(served), served)
	}
}
