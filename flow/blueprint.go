package flow

// Source is a typed output of a stage in a blueprint: a future stream of T. It is a value to pass
// once to an operator or a sink. Nothing runs until the graph does.
type Source[T any] struct{ out *outlet[T] }

// outlet is one output port of a node. When a run starts, link receives the chain downstream of the
// port and builds everything upstream of it.
type outlet[T any] struct {
	node *node
	port int
	link func(b *builder, to chain[T])
}

// node is a stage in a blueprint. It is immutable once its constructor has returned, so a graph can
// run many times, also concurrently.
type node struct {
	kind kind
	stageConfig
	ins   []input
	ports int  // number of outputs
	emits bool // whether one message may become many
}

// input names an output port that feeds a node.
type input struct {
	node *node
	port int
}

type kind uint8

const (
	kindSource kind = iota
	kindVia
	kindRoute
	kindMerge
	kindSink
)

func (k kind) String() string { return [...]string{"source", "stage", "route", "merge", "sink"}[k] }

func newNode(k kind, name string, ports int, opts []StageOption) *node {
	n := &node{kind: k, ports: ports}
	n.name, n.workers, n.chunk = name, 1, defaultChunk
	n.maxInFlight, n.maxBytes = defaultMaxInFlight, defaultMaxBytes
	n.apply(opts)
	return n
}

// reads records that the node reads src. It reports a source that no constructor made.
func reads[T any](n *node, src Source[T]) {
	if src.out == nil {
		n.issue("", "its input is the zero Source", "give it a Source that a constructor or an operator returned")
		n.ins = append(n.ins, input{})
		return
	}
	n.ins = append(n.ins, input{src.out.node, src.out.port})
}

// needs reports a missing factory or function argument as a mistake of the stage.
func (n *node) needs(ok bool, what string) {
	if !ok {
		n.issue(what, "the function is nil", "give a function")
	}
}

func (n *node) checkKeyer(ok bool, want string) {
	if n.keyedBy != nil && !ok {
		n.issue("KeyedBy", "the key function is a "+n.keyFunc, "give a function of "+want)
	}
}

// newSource makes the handle of a node's output port.
func newSource[T any](n *node, port int, link func(b *builder, to chain[T])) Source[T] {
	return Source[T]{out: &outlet[T]{node: n, port: port, link: link}}
}

// Branch is a source with a sink at its end. Graphs consist of branches. To makes one.
type Branch struct {
	node *node
	link func(b *builder)
}

// chain is the part downstream of an output port that runs in one goroutine: fused stages up to the
// next boundary or sink. open makes fresh state for each life of the goroutine and returns the
// function that accepts messages. done is called after the last life and notifies the boundaries at
// the end of the chain.
type chain[T any] struct {
	open  func(la *lane) func(Message[T])
	done  func()
	nodes []*node
	into  *edge[T] // the edge it leads to, if no stage precedes it and the edge takes chunks of any size
}
