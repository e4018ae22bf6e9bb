package control

import (
	"io"
	"log/slog"

	"ffwd/conf"
)

// leveled is a slog.Handler whose level a reload can change. Loggers derived
// from one share the level.
type leveled struct {
	slog.Handler
	level *slog.LevelVar
}

// NewLogger makes the log as configured, writing to w. A Switch started with it
// follows log.level at a reload.
func NewLogger(w io.Writer, c conf.Log) *slog.Logger {
	level := new(slog.LevelVar)
	level.Set(logLevel(c.Level))
	o := &slog.HandlerOptions{Level: level}
	if c.Format == conf.LogJSON {
		return slog.New(leveled{slog.NewJSONHandler(w, o), level})
	}
	return slog.New(leveled{slog.NewTextHandler(w, o), level})
}

// WithAttrs implements slog.Handler.
func (l leveled) WithAttrs(attrs []slog.Attr) slog.Handler {
	return leveled{l.Handler.WithAttrs(attrs), l.level}
}

// WithGroup implements slog.Handler.
func (l leveled) WithGroup(name string) slog.Handler {
	return leveled{l.Handler.WithGroup(name), l.level}
}

// setLogLevel changes the level of a log made by NewLogger; another keeps its own.
func (s *Switch) setLogLevel(level conf.LogLevel) {
	if l, ok := s.log.Handler().(leveled); ok {
		l.level.Set(logLevel(level))
	}
}

func logLevel(level conf.LogLevel) slog.Level {
	switch level {
	case conf.LogDebug:
		return slog.LevelDebug
	case conf.LogWarn:
		return slog.LevelWarn
	case conf.LogError:
		return slog.LevelError
	}
	return slog.LevelInfo
}
