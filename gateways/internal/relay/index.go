package relay

// index finds the listeners of an entry. Guarded by the relay's lock.
type index[T any] struct {
	all    map[*Listener[T]]struct{}
	every  map[*Listener[T]]struct{} // listeners of all entries
	topics map[string]map[*Listener[T]]struct{}
}

func newIndex[T any]() index[T] {
	return index[T]{make(map[*Listener[T]]struct{}), make(map[*Listener[T]]struct{}),
		make(map[string]map[*Listener[T]]struct{})}
}

func (x *index[T]) add(topic string, l *Listener[T]) {
	if x.topics[topic] == nil {
		x.topics[topic] = make(map[*Listener[T]]struct{})
	}
	x.topics[topic][l] = struct{}{}
}

func (x *index[T]) remove(topic string, l *Listener[T]) {
	delete(x.topics[topic], l)
	if len(x.topics[topic]) == 0 {
		delete(x.topics, topic)
	}
}
