package probe

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/streamerson/streamerson-go/redisio"
	"github.com/streamerson/streamerson-go/redisio/internal/fault"
	"github.com/streamerson/streamerson-go/redisio/internal/script"
)

// Probe detects the capabilities of the server by trying each one on a scratch key, which it
// deletes. Version numbers are unreliable, because forks and services report arbitrary ones. Probe
// once per client and keep the answer. Probe again after a failover to other servers.
func Probe(ctx context.Context, rdb redis.UniversalClient) (c redisio.Capabilities, err error) {
	key := "redisio:probe:{" + rand.Text()[:12] + "}"
	if err := rdb.XGroupCreateMkStream(ctx, key, "g", "0").Err(); err != nil {
		return c, fmt.Errorf("redisio: probe: %w", err)
	}
	defer func() {
		// Delete the scratch key even if ctx has ended.
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if delErr := rdb.Del(clean, key).Err(); delErr != nil && err == nil {
			err = fmt.Errorf("redisio: probe: delete scratch key %q: %w", key, delErr)
		}
	}()
	c = Reads(ctx, rdb, key, "c")
	for _, p := range []struct {
		has  *bool
		args []any
	}{
		{&c.XNack, []any{"xnack", key, "g", "SILENT", "ids", 1, "1-1"}},
		{&c.XAckDel, []any{"xackdel", key, "g", "KEEPREF", "ids", 1, "1-1"}},
		{&c.IDMP, []any{"xadd", key, "IDMP", "p", "i", "*", "f", "v"}},
	} {
		err := rdb.Do(ctx, p.args...).Err()
		switch {
		case err == nil || errors.Is(err, redis.Nil):
			*p.has = true
		case !fault.IsServerSaid(err):
			return c, fmt.Errorf("redisio: probe: %w", err)
		case fault.Judge(err) != fault.Permanent:
			return c, fmt.Errorf("redisio: probe: %w", err) // the server can't answer now
		}
	}
	return c, nil
}

// Reads detects which options of XREADGROUP the server has. It uses no key of its own and does not
// write: a server checks the syntax before it looks for the group, and this group does not exist. It
// needs no rights besides those of a reader, and asks the node that has the stream. Without an
// answer it returns none.
func Reads(ctx context.Context, rdb redis.UniversalClient, stream, consumer string) redisio.Capabilities {
	group, pipe := "redisio:probe:"+rand.Text(), rdb.Pipeline()
	try := func(option string) *redis.Cmd {
		cmd := redis.NewCmd(ctx, "xreadgroup", "group", group, consumer, "count", 1, option, 1<<30,
			"streams", stream, ">")
		cmd.SetFirstKeyPos(9)
		_ = pipe.Process(ctx, cmd) // only queues
		return cmd
	}
	claim, size := try("claim"), try("maxsize")
	_, _ = pipe.Exec(ctx) // each command has its own error
	has := func(cmd *redis.Cmd) bool { return fault.Judge(cmd.Err()) == fault.LostGroup }
	return redisio.Capabilities{Claim: has(claim), MaxSize: has(size)}
}

// key returns a scratch key on the node that has near.
func key(near string) string {
	return "redisio:probe:" + rand.Text()[:12] + ":{" + redisio.HashTag(near) + "}"
}

// IDMP detects whether XADD … IDMP drops a duplicate, on the node that has near.
func IDMP(ctx context.Context, rdb redis.UniversalClient, near string) (bool, error) {
	key, pipe := key(near), rdb.Pipeline()
	write := func() *redis.Cmd { return pipe.Do(ctx, "xadd", key, "idmp", "p", "i", "*", "f", "v") }
	known := pipe.Do(ctx, "xcfgset", key, "idmp-duration", 60)
	ready := pipe.Eval(ctx, script.IDMP, []string{key}, 60, 1000)
	one, two := write(), write()
	length := pipe.XLen(ctx, key)
	pipe.Del(ctx, key)
	_, execErr := pipe.Exec(ctx)
	err := errors.Join(ready.Err(), one.Err(), two.Err())
	switch {
	case execErr != nil && !fault.IsServerSaid(execErr):
		return false, fmt.Errorf("redisio: probe: %w", execErr)
	case fault.NoCommand(known.Err()):
		return false, nil
	case fault.IsFull(ready.Err()):
		return true, nil // it can't be tried now
	case err != nil && fault.Judge(err) != fault.Permanent:
		return false, fmt.Errorf("redisio: probe: %w", err)
	}
	return err == nil && one.Val() == two.Val() && length.Val() == 1, nil
}

// TrimsAcked detects whether XTRIM … ACKED keeps what it should, on the node that has near. The
// first servers with it did not. A user without rights for the scratch key gets false.
func TrimsAcked(ctx context.Context, rdb redis.UniversalClient, near string) (bool, error) {
	key, pipe := key(near), rdb.Pipeline()
	for _, id := range []string{"1-1", "2-1", "3-1", "4-1", "5-1"} {
		pipe.Do(ctx, "xadd", key, id, "f", "v")
	}
	pipe.PExpire(ctx, key, time.Minute)
	pipe.XGroupCreate(ctx, key, "g", "0")
	pipe.XGroupCreate(ctx, key, "h", "5-1")
	pipe.XGroupDestroy(ctx, key, "h")
	pipe.Do(ctx, "xreadgroup", "group", "g", "c", "count", 3, "streams", key, ">")
	pipe.XAck(ctx, key, "g", "1-1", "3-1")
	pipe.Do(ctx, "xtrim", key, "maxlen", "=", 0, "acked")
	left := pipe.XRange(ctx, key, "-", "+")
	pipe.Del(ctx, key)
	if _, err := pipe.Exec(ctx); err != nil && !fault.IsFull(err) &&
		(!fault.IsServerSaid(err) || fault.Judge(err) != fault.Permanent) {
		return false, fmt.Errorf("redisio: probe: %w", err)
	}
	got := left.Val()
	return len(got) == 3 && got[0].ID == "2-1" && got[1].ID == "4-1" && got[2].ID == "5-1", nil
}

// Transacts detects whether the user may run transactions. Without the right, a connection of rdb
// may be left in a transaction that cannot end.
func Transacts(ctx context.Context, rdb redis.UniversalClient) (bool, error) {
	pipe := rdb.TxPipeline()
	pipe.Ping(ctx)
	_, err := pipe.Exec(ctx)
	if fault.NoRight(err) {
		return false, nil
	}
	return err == nil, err
}

// SyncsDisk returns the answer of a server that cannot report what is on its disk, by WAITAOF. lacks
// is false for an error that may pass.
func SyncsDisk(ctx context.Context, rdb redis.UniversalClient) (lacks bool, err error) {
	err = rdb.Do(ctx, "waitaof", 1, 0, 1).Err()
	return fault.IsServerSaid(err) && fault.Judge(err) == fault.Permanent, err
}
