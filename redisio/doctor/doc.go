// Package doctor examines a Redis server for the use with package redisio: what the server is, which
// promises of package redisio hold on it, and what to change.
//
//	report, err := doctor.Examine(ctx, rdb, doctor.Options{})
//	for _, f := range report.Findings {
//		fmt.Println(f.Severity, f.Check, f.Text, f.Fix)
//	}
//
// The server may be in production use. The doctor changes no setting and writes only keys of its
// own, which begin with Options.Prefix and "{contract:", or with "redisio:probe:". They hold at most
// a few megabytes, one check runs at a time, and each deletes its keys, also when ctx ends. It writes
// nothing if the user may not delete keys or if memory is short.
//
// The order of the checks is in examine.go. The file server.go finds out what the server is, and
// settings.go reads its settings. The file network.go measures, and rights.go tries the user's
// rights. The rules of package contract are checked by promises.go.
package doctor
