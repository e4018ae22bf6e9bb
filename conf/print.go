package conf

import (
	"bytes"

	"github.com/BurntSushi/toml"
)

// TOML prints the effective configuration, defaults included. Parsing the result
// gives an equal Config.
func (c *Config) TOML() []byte {
	var b bytes.Buffer
	e := toml.NewEncoder(&b)
	e.Indent = ""
	if err := e.Encode(c); err != nil {
		// Every field is a type that can be printed; the tests print them all.
		panic("conf: print: " + err.Error())
	}
	return b.Bytes()
}
