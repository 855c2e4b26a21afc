package lockd

import (
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// tokenHeader repeats the fencing token where a shell script finds it without reading JSON.
const tokenHeader = "X-Lock-Token"

type acquireRequest struct {
	TTL   *duration `json:"ttl,omitempty" doc:"How long the lock lives after it was taken or renewed. Default: the server's, 15s unless it was configured."`
	Wait  duration  `json:"wait,omitempty" doc:"How long to wait for the lock if it is held. Default: not at all. Without a quorum of nodes the wait ends early, after two seconds or the ttl if that is shorter, with 503."`
	Owner string    `json:"owner,omitempty" maxLength:"256" doc:"A label that others are shown as the holder, at most 256 bytes. Not a secret." example:"w1"`

	Meta map[string]string `json:"meta,omitempty" doc:"What others are shown beside the label: which job, which request. At most 4096 bytes as JSON. Not a secret."`
}

type acquireInput struct {
	Name string          `path:"name" doc:"The lock's name: 1 to 512 bytes of UTF-8. Percent-encode it; a slash is %2F." example:"orders%2F42"`
	Hold string          `query:"hold" enum:"stream" doc:"With stream the answer is a stream of events, the lock lives exactly as long as the connection, and lockd renews it."`
	Body *acquireRequest // nil for an empty body, which asks for all the defaults
}

type leaseInput struct {
	ID string `path:"id" maxLength:"64" doc:"The lease's id, as POST gave it." example:"4f2d1c0b9a8e7d6c5b4a39281706f5e4"`
}

type nameInput struct {
	Name string `path:"name" doc:"The lock's name, percent-encoded." example:"orders%2F42"`
}

type listInput struct {
	Prefix string `query:"prefix" maxLength:"512" doc:"Only locks whose name begins with this." example:"orders/"`
}

// leaseInfo is a lease as its caller sees it.
type leaseInfo struct {
	Lease     string    `json:"lease" doc:"The lease's id, a secret: whoever knows it can renew and release the lock." example:"4f2d1c0b9a8e7d6c5b4a39281706f5e4"`
	Name      string    `json:"name" doc:"The lock's name." example:"orders/42"`
	Token     int64     `json:"token" doc:"The fencing token: higher than that of every lease of this name before. Give it to every resource that can refuse an older one." example:"1795184160000000"`
	TTL       duration  `json:"ttl" doc:"How long the lock lives after each renewal."`
	Deadline  time.Time `json:"deadline" doc:"When the lock is lost unless it is renewed before." example:"2026-11-20T14:16:15.25Z"`
	Remaining duration  `json:"remaining" doc:"The time until the deadline, when the answer was written."`
	Nodes     string    `json:"nodes" doc:"How many of the nodes have the lock; more than a majority is redundancy." example:"5/5"`
}

func infoOf(h *held) leaseInfo {
	have, all := h.Nodes()
	return leaseInfo{Lease: h.id, Name: h.Name(), Token: h.Token(), TTL: duration(h.TTL()),
		Deadline: h.Deadline().UTC().Truncate(time.Millisecond), Remaining: shown(h.Remaining()),
		Nodes: fmt.Sprintf("%d/%d", have, all)}
}

// lockInfo is a lock as anybody sees it: the lease's id is not in it.
type lockInfo struct {
	Name      string            `json:"name" doc:"The lock's name." example:"orders/42"`
	Held      bool              `json:"held" doc:"Whether somebody holds it on a majority of the nodes."`
	Holder    string            `json:"holder,omitempty" doc:"The owner label of the holder, if it gave one." example:"w1"`
	Meta      map[string]string `json:"meta,omitempty" doc:"What the holder gave to be shown beside its label."`
	Remaining *duration         `json:"remaining,omitempty" doc:"How long the lock lives unless it is renewed; absent if it is free or its key has no ttl."`
	Token     int64             `json:"token" doc:"The highest fencing token that any node knows of: no lease of this name ever had a higher one. 0: none, or long forgotten." example:"1795184160000000"`
	Waiting   int               `json:"waiting" doc:"How many wait for it."`
	Nodes     string            `json:"nodes,omitempty" doc:"On how many of the nodes that answered the holder was seen. Slow nodes are not waited for." example:"5/5"`
}

type memberInfo struct {
	Node    string    `json:"node" doc:"The node's address." example:"127.0.0.1:7001"`
	Latency *duration `json:"latency,omitempty" doc:"Of one round trip."`
	Error   string    `json:"error,omitempty" doc:"Why it did not answer."`
}

type leaseOutput struct {
	Token int64 `header:"X-Lock-Token" doc:"The fencing token."`
	Body  leaseInfo
}

type lockOutput struct{ Body lockInfo }

type listOutput struct {
	Body struct {
		Locks []lockInfo `json:"locks" nullable:"false" doc:"The locks that somebody holds, in the order of their names."`
	} `nameHint:"LockList"`
}

type aliveOutput struct {
	Body struct {
		Status string `json:"status" example:"ok"`
	} `nameHint:"Alive"`
}

type readyOutput struct {
	Body struct {
		Ready   bool         `json:"ready" doc:"Whether locks can be taken."`
		Nodes   string       `json:"nodes" doc:"How many of the nodes answer." example:"5/5"`
		Members []memberInfo `json:"members" nullable:"false" doc:"The nodes."`
	} `nameHint:"Ready"`
}

const apiDescription = `Locks with fencing tokens over a quorum of nodes.

A classic lease (POST, then PUT to renew, DELETE to release) never outlives its caller's last POST or PUT plus its ttl. With ?hold=stream the lock lives exactly as long as the connection. Every error is application/problem+json with a code to branch on. Durations are strings such as "15s".`

// defineAPI registers every operation. What is written here is what is served at /openapi.json.
func (s *Server) defineAPI() error {
	config := huma.DefaultConfig("Holdfast lockd", s.cfg.Version)
	config.Info.Description = apiDescription
	config.Info.License = &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"}
	// huma's own documents are off: its docs page loads scripts from elsewhere, and its openapi.json is made at
	// the first request without a lock. $schema links and their Link headers are of no use here.
	config.OpenAPIPath, config.DocsPath, config.SchemasPath, config.CreateHooks = "", "", "", nil
	config.Formats = map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat} // the second is for problem+json
	config.Transformers = []huma.Transformer{asProblem}
	config.RejectUnknownQueryParameters = true
	api := humago.New(router{s.mux}, config)

	huma.Register(api, s.acquireOperation(api), s.acquireLock)
	huma.Register(api, operation(api, http.MethodPut, "/v1/leases/{id}", "renew-lease", "Renew a lease",
		"The lease lives for another ttl from now. With 503 it lives on until its deadline: try again.", 404, 410, 503), s.renewLease)
	huma.Register(api, operation(api, http.MethodDelete, "/v1/leases/{id}", "release-lease", "Release a lock",
		"410 says that the lease was over before, and why; 503 that it is over now, but the nodes have not confirmed it.", 404, 410, 503), s.releaseLease)
	huma.Register(api, operation(api, http.MethodGet, "/v1/locks", "list-locks", "List locks that are held",
		"Scans the keys of a majority of the nodes. Locks that other libraries took are not found.", 503), s.listLocks)
	huma.Register(api, operation(api, http.MethodGet, "/v1/locks/{name}", "inspect-lock", "Inspect a lock",
		"What a majority of the nodes says about a name.", 503), s.inspectLock)
	huma.Register(api, operation(api, http.MethodGet, "/healthz", "healthz", "Whether lockd lives", ""), s.healthz)
	huma.Register(api, operation(api, http.MethodGet, "/readyz", "readyz", "Whether locks can be taken",
		"Asks every node for a sign of life.", 503), s.readyz)

	doc := api.OpenAPI()
	var indexText, document []byte
	s.serveDocument(doc, huma.Operation{Path: "/openapi.json", OperationID: "openapi", Summary: "This document"},
		"/openapi.json", "application/openapi+json", func() []byte { return document })
	s.serveDocument(doc, huma.Operation{Path: "/", OperationID: "index", Summary: "What there is, as text"},
		"/{$}", "text/plain; charset=utf-8", func() []byte { return indexText })
	for _, unused := range []string{"ErrorModel", "ErrorDetail"} { // huma's errors; ours are problems
		delete(doc.Components.Schemas.Map(), unused)
	}
	indexText = index(doc)
	var err error
	document, err = openAPI(doc)
	return err
}

// operation describes an operation with the problems that it can answer with, beside those that every
// request can have.
func operation(api huma.API, method, path, id, summary, description string, problems ...int) huma.Operation {
	op := huma.Operation{Method: method, Path: path, OperationID: id, Summary: summary, Description: description,
		// Bodies are read and bounded before they come here.
		MaxBodyBytes: -1, BodyReadTimeout: -1, Responses: map[string]*huma.Response{}}
	schema := api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[problem](), true, "Problem")
	always := []int{403, 422, 500}
	if hasEffects(method) {
		always = append(always, 400, 408, 413, 415)
	}
	for _, status := range append(problems, always...) {
		op.Responses[strconv.Itoa(status)] = &huma.Response{Description: http.StatusText(status),
			Content: map[string]*huma.MediaType{"application/problem+json": {Schema: schema}}}
	}
	return op
}

// acquireOperation has more than one form of answer, which no output type of huma can say.
func (s *Server) acquireOperation(api huma.API) huma.Operation {
	op := operation(api, http.MethodPost, "/v1/locks/{name}", "acquire-lock", "Take a lock",
		"409 says who holds it and for how long; Retry-After when it may be free. A caller that goes away while it waits leaves nothing behind.",
		409, 429, 503)
	schemas := api.OpenAPI().Components.Schemas
	events := schemas.Schema(reflect.TypeFor[streamEvent](), true, "StreamEvent")
	op.Responses["200"] = &huma.Response{
		Description: "The lock is the caller's.",
		Headers:     map[string]*huma.Header{tokenHeader: {Description: "The fencing token.", Schema: &huma.Schema{Type: huma.TypeInteger}}},
		Content: map[string]*huma.MediaType{
			"application/json": {Schema: schemas.Schema(reflect.TypeFor[leaseInfo](), true, "LeaseInfo")},
			typeNDJSON:         {Schema: events},
			typeSSE:            {Schema: events},
		},
	}
	return op
}
