package eventstore

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/streamerson/streamerson-go/redisio"
)

// ErrKind reports a value or an entry of a kind that is not among the kinds of a format.
var ErrKind = errors.New("eventstore: unknown kind of event; add it to Kinds")

// KindOf is one kind of the events of type E, see [Kind].
type KindOf[E any] struct {
	name   string
	of     reflect.Type
	encode func(redisio.Fields, []byte, *redisio.Envelope, E) (redisio.Fields, []byte, error)
	decode func(*redisio.Entry, *redisio.Envelope) (E, error)
}

// Kind is the kind of events that the struct T holds. The name is stored with each event, as its
// type, so T may be renamed and the name may not. Values are encoded as JSON. E is an interface
// that T implements, or any.
func Kind[T, E any](name string) KindOf[E] {
	format := redisio.Native(redisio.JSON[T]())
	return KindOf[E]{
		name: name, of: reflect.TypeFor[T](),
		encode: func(dst redisio.Fields, buf []byte, e *redisio.Envelope, v E) (redisio.Fields, []byte, error) {
			return format.Encode(dst, buf, e, any(v).(T))
		},
		decode: func(entry *redisio.Entry, e *redisio.Envelope) (E, error) {
			v, err := format.Decode(entry, e)
			if err != nil {
				var none E
				return none, err
			}
			return any(v).(E), nil
		},
	}
}

// Kinds is the format of events of several kinds: native entries with the name of the kind as their
// type. E is an interface that all of them implement.
//
//	type Event interface{ event() }
//	format := eventstore.Kinds(
//		eventstore.Kind[Opened, Event]("opened"), eventstore.Kind[Deposited, Event]("deposited"))
//
// An event of another kind is an error that wraps ErrKind, when it is written and when it is read.
// So a program does not compute a state without the events that it does not know.
func Kinds[E any](kinds ...KindOf[E]) redisio.Format[E] {
	k := &kindsFormat[E]{byType: make(map[reflect.Type]KindOf[E]), byName: make(map[string]KindOf[E])}
	m := redisio.MistakesOf("eventstore.Kinds")
	m.If(len(kinds) == 0, "kinds", "is empty", "add a Kind for each kind of event")
	for _, kind := range kinds {
		_, typed := k.byType[kind.of]
		_, named := k.byName[kind.name]
		m.If(kind.name == "", "kinds", fmt.Sprintf("%v has no name", kind.of), "name it, as in deposited")
		m.If(typed, "kinds", fmt.Sprintf("%v is there twice", kind.of), "leave one out")
		m.If(named, "kinds", fmt.Sprintf("the name %q is there twice", kind.name), "rename one")
		m.If(kind.of == nil || !kind.of.AssignableTo(reflect.TypeFor[E]()), "kinds",
			fmt.Sprintf("%v is no %v", kind.of, reflect.TypeFor[E]()), "add the methods of the interface to it")
		k.byType[kind.of], k.byName[kind.name] = kind, kind
	}
	k.err = m.Err()
	return k
}

type kindsFormat[E any] struct {
	byType map[reflect.Type]KindOf[E]
	byName map[string]KindOf[E]
	err    error
}

// Validate returns the mistakes in the list of kinds.
func (k *kindsFormat[E]) Validate() error { return k.err }

func (k *kindsFormat[E]) Encode(
	dst redisio.Fields, buf []byte, e *redisio.Envelope, v E,
) (redisio.Fields, []byte, error) {
	kind, ok := k.byType[reflect.TypeOf(v)]
	if !ok || k.err != nil {
		return dst, buf, errors.Join(fmt.Errorf("%w: %T", ErrKind, v), k.err)
	}
	e.Type = kind.name
	return kind.encode(dst, buf, e, v)
}

func (k *kindsFormat[E]) Decode(entry *redisio.Entry, e *redisio.Envelope) (E, error) {
	name, _ := entry.Fields.Get("type")
	kind, ok := k.byName[string(name)]
	if !ok || k.err != nil {
		var none E
		return none, &redisio.DecodeError{ID: entry.ID, Field: "type", Err: fmt.Errorf("%w: %.60q", ErrKind, name)}
	}
	return kind.decode(entry, e)
}
