package conf

import (
	"strconv"
	"strings"
)

// lineIndex gives the line, from 1, on which each key of a TOML document stands,
// by path: ports[1].mtu, rules[0].src[2]. A list's elements have their own lines.
//
// The toml package keeps positions for its own errors only, and one per key name,
// so that ports[0].mtu and ports[1].mtu share one. Hence this scanner.
type lineIndex map[string]int

// of returns the line of path or of the nearest table or list that holds it; 0
// when even that is not in the file.
func (x lineIndex) of(path string) int {
	for ; path != ""; path = parent(path) {
		if line, ok := x[path]; ok {
			return line
		}
	}
	return 0
}

// parent is the path of the table or list that holds path, or "" at the top. In
// a quoted key it takes longer to get there, and does.
func parent(path string) string {
	return path[:max(strings.LastIndexByte(path, '.'), strings.LastIndexByte(path, '['), 0)]
}

// element is the path of a list's element.
func element(list string, i int) string { return list + "[" + strconv.Itoa(i) + "]" }

// join is the path of a key in a table. A key that is not bare is quoted, so
// that its dots and brackets are not read as the path's.
func join(table, key string) string {
	if !isBareKey(key) {
		key = strconv.Quote(key)
	}
	if table == "" {
		return key
	}
	return table + "." + key
}

func isBareKey(key string) bool {
	for i := range len(key) {
		if !isBareByte(key[i]) {
			return false
		}
	}
	return key != ""
}

func isBareByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}

// indexLines finds the line of every key in doc that is wanted, all of them if wanted is nil.
// The toml package must have accepted doc: the scanner knows just enough TOML to find its way in a valid
// document. On any other it ends without a panic and with some lines missing.
func indexLines(doc string, wanted map[string]bool) lineIndex {
	s := &lineScanner{src: strings.TrimPrefix(doc, "\ufeff"), line: 1, wanted: wanted, lines: lineIndex{}, elements: map[string]int{}}
	s.document()
	return s.lines
}

// lineScanner walks over a TOML document. Every method leaves pos behind what it
// has read, and document ends when one does not get ahead.
type lineScanner struct {
	src      string
	pos      int
	line     int
	depth    int             // of lists and tables in one value
	wanted   map[string]bool // nil: all
	lines    lineIndex
	elements map[string]int // [[table]] path -> elements so far
}

func (s *lineScanner) document() {
	table := ""
	for s.skipBlank(true); s.pos < len(s.src); s.skipBlank(true) {
		before := s.pos
		if s.peek() == '[' {
			table = s.header()
		} else {
			s.keyValue(table)
		}
		if s.pos == before {
			return
		}
	}
}

// header reads [a.b] or [[a.b]] and returns the path of the table it opens.
func (s *lineScanner) header() string {
	line := s.line
	s.pos++
	isElement := s.peek() == '['
	if isElement {
		s.pos++
	}
	parts := s.key()
	path := ""
	for i, part := range parts {
		path = join(path, part)
		last := i == len(parts)-1
		if last && isElement {
			s.note(path, line)
			s.elements[path]++
		}
		if n := s.elements[path]; n > 0 {
			path = element(path, n-1)
		}
		s.note(path, line)
	}
	for s.peek() == ']' {
		s.pos++
	}
	return path
}

// keyValue reads key = value in the given table.
func (s *lineScanner) keyValue(table string) {
	line := s.line
	path := table
	for _, part := range s.key() {
		path = join(path, part)
		s.note(path, line)
	}
	if s.peek() == '=' {
		s.pos++
	}
	s.skipBlank(false)
	s.value(path)
}

// key reads a possibly dotted key and the space after it.
func (s *lineScanner) key() []string {
	var parts []string
	for {
		s.skipBlank(false)
		switch c := s.peek(); {
		case c == '"' || c == '\'':
			parts = append(parts, s.quotedKey(c))
		case isBareByte(c):
			start := s.pos
			for isBareByte(s.peek()) {
				s.pos++
			}
			parts = append(parts, s.src[start:s.pos])
		}
		s.skipBlank(false)
		if s.peek() != '.' {
			return parts
		}
		s.pos++
	}
}

// quotedKey reads a key in quotes, resolving escapes by the rules of Go, which
// for keys are those of TOML except \e and \x.
func (s *lineScanner) quotedKey(quote byte) string {
	start := s.pos
	s.text()
	raw := s.src[start:s.pos]
	if quote == '"' {
		if key, err := strconv.Unquote(raw); err == nil {
			return key
		}
	}
	return strings.Trim(raw, string(quote))
}

// value reads any value and notes the lines of what is in it.
func (s *lineScanner) value(path string) {
	s.depth++
	defer func() { s.depth-- }()
	switch s.peek() {
	case '"', '\'':
		s.text()
	case '[':
		s.list(path)
	case '{':
		s.inlineTable(path)
	default:
		for s.pos < len(s.src) && !strings.ContainsRune(",]}#\r\n", rune(s.src[s.pos])) {
			s.pos++
		}
	}
}

func (s *lineScanner) list(path string) {
	s.pos++
	for i := 0; ; i++ {
		s.skipBlank(true)
		if s.peek() == ']' {
			s.pos++
			return
		}
		before := s.pos
		item := path
		if s.depth <= maxKeyParts { // of what is deeper the line is that of what holds it
			item = element(path, i)
			s.note(item, s.line)
		}
		s.value(item)
		s.skipBlank(true)
		if s.peek() == ',' {
			s.pos++
		}
		if s.pos == before {
			return
		}
	}
}

func (s *lineScanner) inlineTable(path string) {
	s.pos++
	for {
		s.skipBlank(true)
		if s.peek() == '}' {
			s.pos++
			return
		}
		before := s.pos
		s.keyValue(path)
		s.skipBlank(true)
		if s.peek() == ',' {
			s.pos++
		}
		if s.pos == before {
			return
		}
	}
}

// text reads a string of any of the four kinds.
func (s *lineScanner) text() {
	quote := s.src[s.pos : s.pos+1]
	if long := strings.Repeat(quote, 3); strings.HasPrefix(s.src[s.pos:], long) {
		s.pos += 3
		s.until(long, quote == `"`)
		for s.peek() == quote[0] { // up to two more belong to the text
			s.pos++
		}
		return
	}
	s.pos++
	s.until(quote, quote == `"`)
}

// until moves behind the next end, counting lines; a backslash hides the byte
// after it if escapes is set.
func (s *lineScanner) until(end string, escapes bool) {
	for s.pos < len(s.src) {
		switch {
		case escapes && s.src[s.pos] == '\\' && s.pos+1 < len(s.src):
			s.pos++
		case strings.HasPrefix(s.src[s.pos:], end):
			s.pos += len(end)
			return
		}
		if s.src[s.pos] == '\n' {
			s.line++
		}
		s.pos++
	}
}

// skipBlank moves over white space and, if lines is set, line ends and comments.
func (s *lineScanner) skipBlank(lines bool) {
	for s.pos < len(s.src) {
		switch c := s.src[s.pos]; {
		case c == ' ' || c == '\t':
		case !lines:
			return
		case c == '\r':
		case c == '\n':
			s.line++
		case c == '#':
			s.skipComment()
		default:
			return
		}
		s.pos++
	}
}

// skipComment moves to the last byte of a line.
func (s *lineScanner) skipComment() {
	for s.pos+1 < len(s.src) && s.src[s.pos+1] != '\n' {
		s.pos++
	}
}

// hasLongKey tells whether a key of the document has more than so many parts, dots between
// them. A document that is not TOML may hide some behind what looks like a text.
func hasLongKey(doc string, most int) bool {
	s := &lineScanner{src: doc}
	for parts := 1; s.pos < len(s.src); s.pos++ {
		switch c := s.peek(); {
		case c == '"' || c == '\'':
			s.text()
			s.pos--
		case c == '#':
			s.skipComment()
		case c == '.':
			if parts++; parts > most {
				return true
			}
		case c != ' ' && c != '\t' && !isBareByte(c):
			parts = 1
		}
	}
	return false
}

// note keeps the first line of a path: a table's is where it is opened.
func (s *lineScanner) note(path string, line int) {
	if s.wanted != nil && !s.wanted[path] {
		return
	}
	if _, known := s.lines[path]; !known {
		s.lines[path] = line
	}
}

// peek returns the next byte, or 0 at the end.
func (s *lineScanner) peek() byte {
	if s.pos < len(s.src) {
		return s.src[s.pos]
	}
	return 0
}
