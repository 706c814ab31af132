package redisio

import (
	"mime"
	"strings"
)

// ContentTypeMatches reports whether a reader of the content type want can read a value of the
// content type got. Types are compared as media types. Case and parameters are ignored, except that
// text and JSON in a charset other than UTF-8 do not match. A reader of application/json also takes
// text/json and types ending in +json, such as application/problem+json.
func ContentTypeMatches(want, got string) bool {
	if want == got {
		return true
	}
	want, _, _ = strings.Cut(want, ";")
	media, rest, params := strings.Cut(got, ";")
	want, media = lowered(want), lowered(media)
	json := media == "application/json" || media == "text/json" || strings.HasSuffix(media, "+json")
	if want != media && (want != "application/json" || !json) {
		return false
	}
	if params && (json || strings.HasPrefix(media, "text/")) {
		return utf8Charset(rest)
	}
	return true
}

func lowered(media string) string { return strings.ToLower(strings.TrimSpace(media)) }

// utf8Charset reports whether the parameters have no charset, or UTF-8, or US-ASCII.
func utf8Charset(params string) bool {
	for p := range strings.SplitSeq(params, ";") {
		if _, kv, err := mime.ParseMediaType("x/x;" + p); err == nil && kv["charset"] != "" {
			switch strings.ToLower(kv["charset"]) {
			case "utf-8", "utf8", "us-ascii", "ascii":
			default:
				return false
			}
		}
	}
	return true
}
