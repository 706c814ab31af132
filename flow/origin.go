package flow

import "context"

// Origin returns the name of the source that read the entry of the message. For a message that joins
// others it is that of the first with an entry. It is empty if the message has no entry. Together
// with Origins it lets an operator follow each source by itself, such as its event time.
func (m Message[T]) Origin() string {
	if s := m.lease.firstRoot(); s != nil {
		return s.source.name
	}
	return ""
}

// firstRoot returns the session of the first entry that the lease stands for, or nil.
func (l lease) firstRoot() *session {
	if l.none() {
		return nil
	}
	if l.slab.from != nil {
		return l.slab.from
	}
	if one, ok := l.member(); ok {
		return one.firstRoot()
	}
	for _, member := range l.slab.members {
		if s := member.firstRoot(); s != nil {
			return s
		}
	}
	return nil
}

// Origins returns the names of all sources whose messages can reach the stage that called its
// handler with ctx. It returns nil outside a running graph.
func Origins(ctx context.Context) []string {
	s := stageOf(ctx)
	if s == nil {
		return nil
	}
	var names []string
	for _, src := range s.la.run.sources {
		if reaches(src.node, s.st.node) {
			names = append(names, src.name)
		}
	}
	return names
}
