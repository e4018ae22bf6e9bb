// Package conf turns a TOML file into a typed, defaulted and validated Config,
// prints a Config as TOML, and says what differs between two of them.
//
// A Config is plain data and imports nothing of ours: control translates it into
// what the other packages take. It is built once by Load or Parse and not written
// afterwards, so any thread may read it. Workers never see one.
//
// The way of a file:
//
//	bytes -> toml (syntax) -> indexLines (where each key stands)
//	      -> decoder (types, unknown keys) over setDefaults -> Validate -> Config
//
// Nothing is repaired silently. Every fault is reported at once, with the file,
// the line, the path of the key and what would be right:
//
//	ffwd.toml:12: ports[1].mtu: 60 is below 68 (RFC 791)
//
// To add a key: a field with toml and json tags in config.go, its default in
// setDefaults, its bounds in the validate file of its table, and, if a running
// switch can take it over, its path in reloadable (diff.go). Show it in a sample.
package conf
