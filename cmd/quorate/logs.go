package main

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// logTimeFormat has microseconds and the zone, as etcd's log has.
const logTimeFormat = "2006-01-02T15:04:05.000000Z0700"

func logLevel(s string) (slog.Level, error) {
	switch s {
	case "debug":
		return slog.LevelDebug, nil
	case "info":
		return slog.LevelInfo, nil
	case "warn":
		return slog.LevelWarn, nil
	case "error", "panic", "fatal":
		return slog.LevelError, nil
	}
	return 0, usagef("--log-level is %q; it is debug, info, warn or error", s)
}

// newLogger writes JSON lines with level, ts, caller and msg.
func newLogger(w io.Writer, level slog.Level) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{
		AddSource: true,
		Level:     level,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) > 0 {
				return a
			}
			switch a.Key {
			case slog.TimeKey:
				return slog.String("ts", a.Value.Time().Format(logTimeFormat))
			case slog.LevelKey:
				return slog.String("level", strings.ToLower(a.Value.String()))
			case slog.SourceKey:
				at, ok := a.Value.Any().(*slog.Source)
				if !ok {
					return a
				}
				dir, file := filepath.Split(at.File)
				return slog.String("caller", filepath.Base(dir)+"/"+file+":"+strconv.Itoa(at.Line))
			}
			return a
		},
	}))
}

// openLog opens what --log-outputs names; close it when done.
func openLog(outputs string, stdout, stderr io.Writer) (io.Writer, func(), error) {
	var writers []io.Writer
	var files []*os.File
	done := func() {
		for _, f := range files {
			f.Close()
		}
	}
	for _, name := range strings.Split(outputs, ",") {
		switch strings.TrimSpace(name) {
		case "default", "stderr", "systemd/journal":
			writers = append(writers, stderr)
		case "stdout":
			writers = append(writers, stdout)
		default:
			f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
			if err != nil {
				done()
				return nil, nil, usagef("--log-outputs: %v", err)
			}
			files = append(files, f)
			writers = append(writers, f)
		}
	}
	return io.MultiWriter(writers...), done, nil
}
