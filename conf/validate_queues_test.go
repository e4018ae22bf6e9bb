package conf

import (
	"strings"
	"testing"
)

// Source: VQ-1
func TestQueueFaults(t *testing.T) {
	const base = diffBase + "[[queues]]\nnumber = 3\n"
	for name, c := range map[string]struct{ doc, want string }{
		"defaults":        {base, ""},
		"a rule":          {base + "[[rules]]\naction = \"queue\"\nqueue = 3\nbypass = true\nfail_open = true\n", ""},
		"a range":         {base + "[[queues]]\nnumber = 4\n[[rules]]\naction = \"divert\"\nqueue = \"3-4\"\n", ""},
		"a tee":           {base + "[[rules]]\naction = \"tee\"\nqueue = 3\n", ""},
		"unknown queue":   {base + "[[rules]]\naction = \"queue\"\nqueue = \"3-5\"\n", "add one with number = 4"},
		"no queue":        {base + "[[rules]]\naction = \"queue\"\n", ".queue: is missing"},
		"queue of accept": {base + "[[rules]]\naction = \"accept\"\nqueue = 3\n", "needs action queue, divert or tee"},
		"bypass of tee":   {base + "[[rules]]\naction = \"tee\"\nqueue = 3\nbypass = true\n", ".bypass: needs action queue or divert"},
		"tee to a port":   {base + "[[rules]]\naction = \"tee\"\ntee_port = \"lan\"\n", ""},
		"tee to both":     {base + "[[rules]]\naction = \"tee\"\nqueue = 3\ntee_port = \"lan\"\n", ""},
		"tee to nobody":   {base + "[[rules]]\naction = \"tee\"\n", ".action: tee copies to nobody"},
		"tee to unknown":  {base + "[[rules]]\naction = \"tee\"\ntee_port = \"lam\"\n", ".tee_port: \"lam\" is no port"},
		"tee to sub-port": {base + "[[ports]]\nname = \"lan7\"\nparent = \"lan\"\nvlan = 7\n[[rules]]\naction = \"tee\"\ntee_port = \"lan7\"\n", "want lan: copies leave"},
		"port of accept":  {base + "[[rules]]\naction = \"accept\"\ntee_port = \"lan\"\n", ".tee_port: needs action tee"},
		"twice":           {base + "[[queues]]\nnumber = 3\n", "queues[1].number: 3 is there twice"},
		"number":          {base + "[[queues]]\nnumber = 65536\n", "queues[1].number"},
		"no packets":      {base + "max_packets = 0\n", "queues[0].max_packets"},
		"too many":        {base + "max_packets = 32769\n", "queues[0].max_packets"},
		"no bytes":        {base + "max_bytes = 100\n", "queues[0].max_bytes"},
		"copy":            {base + "copy_bytes = -1\n", "queues[0].copy_bytes"},
		"no time":         {base + "timeout = \"0s\"\n", "queues[0].timeout"},
		"for ever":        {base + "stall = \"2m\"\n", "queues[0].stall"},
		"microseconds":    {base + "stall = \"1.5ms\"\n", "whole milliseconds"},
		"no socket":       {base + "[control]\nqueue_socket = \"\"\n", "control.queue_socket: is empty"},
		"range reversed":  {base + "[[rules]]\naction = \"queue\"\nqueue = \"4-3\"\n", "is not a queue"},
	} {
		_, err := Parse("test", []byte(c.doc))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
