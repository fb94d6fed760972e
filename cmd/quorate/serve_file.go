package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"sort"
	"strings"
)

// configFileLimitBytes bounds what is read: a configuration is small.
const configFileLimitBytes = 1 << 20

// setting is one "key: value" of a configuration file.
type setting struct {
	key   string
	value string
	where string // "line 7"
}

// applyFile sets every key of a configuration file. A file replaces flags and
// environment, as with etcd.
func applyFile(f *flag.FlagSet, c *serveConfig, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return usagef("--config-file: %v", err)
	}
	if info.Size() > configFileLimitBytes {
		return usagef("--config-file %s has %d bytes; a configuration is smaller than %d", path, info.Size(), configFileLimitBytes)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return usagef("--config-file: %v", err)
	}
	settings, err := parseFile(text)
	if err != nil {
		return usagef("--config-file %s: %v", path, err)
	}
	for _, s := range settings {
		if f.Lookup(s.key) == nil || s.key == "config-file" || s.key == "version" {
			return usagef("--config-file %s, %s: unknown key %q; run 'quorate serve --help' for the list", path, s.where, s.key)
		}
		if s.value == "" {
			continue // etcd's sample file leaves what has no value empty
		}
		if err := f.Set(s.key, s.value); err != nil {
			return usagef("--config-file %s, %s: %s: %v", path, s.where, s.key, err)
		}
		c.given[s.key] = true
	}
	return nil
}

// sections are etcd's two nested parts; their keys become flags.
var sections = map[string]map[string]string{
	"client-transport-security": {
		"cert-file": "cert-file", "key-file": "key-file", "client-cert-auth": "client-cert-auth",
		"trusted-ca-file": "trusted-ca-file", "auto-tls": "auto-tls",
		"client-cert-file": "client-cert-file", "client-key-file": "client-key-file",
	},
	"peer-transport-security": {
		"cert-file": "peer-cert-file", "key-file": "peer-key-file", "client-cert-auth": "peer-client-cert-auth",
		"trusted-ca-file": "peer-trusted-ca-file", "auto-tls": "peer-auto-tls",
		"client-cert-file": "peer-client-cert-file", "client-key-file": "peer-client-key-file",
	},
}

// parseFile reads a JSON object, or the part of YAML that etcd's sample file
// uses: "key: value" lines, quoted or plain, comments, lists, and the two
// sections indented below their name.
func parseFile(text []byte) ([]setting, error) {
	if trimmed := bytes.TrimSpace(text); len(trimmed) > 0 && trimmed[0] == '{' {
		return parseJSONFile(trimmed)
	}
	var out []setting
	var section, list string
	for i, line := range strings.Split(string(text), "\n") {
		where := fmt.Sprintf("line %d", i+1)
		indented := strings.HasPrefix(line, " ")
		if strings.HasPrefix(line, "\t") {
			return nil, fmt.Errorf("%s: YAML is indented with spaces, not tabs", where)
		}
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line == "---" {
			continue
		}
		if item, ok := strings.CutPrefix(line, "- "); ok && list != "" {
			v, err := scalar(item)
			if err != nil {
				return nil, fmt.Errorf("%s: %v", where, err)
			}
			last := &out[len(out)-1]
			if last.value != "" {
				v = last.value + "," + v
			}
			last.value = v
			continue
		}
		key, rest, ok := strings.Cut(line, ":")
		if !ok || rest != "" && rest[0] != ' ' {
			return nil, fmt.Errorf("%s: %q is not \"key: value\"", where, line)
		}
		if !indented {
			section = ""
		} else if section == "" {
			return nil, fmt.Errorf("%s: %q is indented below nothing", where, line)
		}
		value, err := scalar(strings.TrimSpace(rest))
		if err != nil {
			return nil, fmt.Errorf("%s: %v", where, err)
		}
		if _, isSection := sections[key]; isSection && !indented {
			section, list = key, ""
			continue
		}
		if section != "" {
			flagName, known := sections[section][key]
			if !known {
				flagName = section + "." + key // refused as unknown, by its full name
			}
			key = flagName
		}
		out = append(out, setting{key, value, where})
		list = key
	}
	return out, nil
}

// scalar reads one value: quoted, plain with a comment behind it, or a list in
// brackets, which becomes a comma-separated one.
func scalar(s string) (string, error) {
	switch {
	case s == "":
		return "", nil
	case s[0] == '\'' || s[0] == '"':
		end := strings.IndexByte(s[1:], s[0])
		if end < 0 {
			return "", fmt.Errorf("the quote in %s is not closed", s)
		}
		if rest := strings.TrimSpace(s[end+2:]); rest != "" && rest[0] != '#' {
			return "", fmt.Errorf("%q stands behind the closing quote", rest)
		}
		return s[1 : end+1], nil
	case s[0] == '[':
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return "", fmt.Errorf("the list %s is not closed", s)
		}
		var parts []string
		for _, p := range strings.Split(s[1:end], ",") {
			v, err := scalar(strings.TrimSpace(p))
			if err != nil {
				return "", err
			}
			if v != "" {
				parts = append(parts, v)
			}
		}
		return strings.Join(parts, ","), nil
	case strings.ContainsRune("{&*!|>%@`", rune(s[0])):
		return "", fmt.Errorf("%s: only plain values, quoted values and lists are understood", s)
	}
	if i := strings.Index(s, " #"); i >= 0 {
		s = strings.TrimSpace(s[:i])
	}
	if s == "null" || s == "~" || s[0] == '#' {
		return "", nil
	}
	return s, nil
}

func parseJSONFile(text []byte) ([]setting, error) {
	var top map[string]any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&top); err != nil {
		return nil, err
	}
	var out []setting
	for key, v := range top {
		names, nested := sections[key]
		if !nested {
			out = append(out, setting{key, jsonScalar(v), "key " + key})
			continue
		}
		inner, ok := v.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("%s must be an object", key)
		}
		for k, v := range inner {
			name, known := names[k]
			if !known {
				name = key + "." + k
			}
			out = append(out, setting{name, jsonScalar(v), "key " + key + "." + k})
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].key < out[j].key })
	return out, nil
}

func jsonScalar(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case []any:
		parts := make([]string, len(v))
		for i, e := range v {
			parts[i] = jsonScalar(e)
		}
		return strings.Join(parts, ",")
	default:
		return fmt.Sprint(v)
	}
}
