package lockd

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/holdfast-dev/holdfast/client"
)

// healthz is GET /healthz: the process lives and answers.
func (s *Server) healthz(context.Context, *struct{}) (*aliveOutput, error) {
	out := &aliveOutput{}
	out.Body.Status = "ok"
	return out, nil
}

// readyz is GET /readyz: locks can be taken, because a majority of the nodes answers.
func (s *Server) readyz(ctx context.Context, _ *struct{}) (*readyOutput, error) {
	if s.closing.Err() != nil {
		return nil, shuttingDown()
	}
	health := s.locks.Health(ctx)
	out := &readyOutput{}
	answered := 0
	var failed []nodeError
	for _, n := range health.Nodes {
		member := memberInfo{Node: n.Node}
		if n.Err != nil {
			member.Error = n.Err.Error()
			failed = append(failed, nodeErrorOf(&client.NodeError{Node: n.Node, Err: n.Err}))
		} else {
			answered++
			latency := duration(n.Latency)
			member.Latency = &latency
		}
		out.Body.Members = append(out.Body.Members, member)
	}
	out.Body.Nodes = fmt.Sprintf("%d/%d", answered, len(health.Nodes))
	if !health.Quorum {
		p := newProblem(http.StatusServiceUnavailable, codeNoQuorum, "%s nodes answer, which is no majority", out.Body.Nodes)
		p.Nodes, p.NodeErrors = out.Body.Nodes, failed
		return nil, p.retryAfter(time.Second)
	}
	out.Body.Ready = true
	return out, nil
}

// serveDocument answers with a text that was made in New, and documents the operation.
func (s *Server) serveDocument(api *huma.OpenAPI, op huma.Operation, pattern, media string, document func() []byte) {
	op.Method = http.MethodGet
	op.Responses = map[string]*huma.Response{"200": {Description: "OK", Content: map[string]*huma.MediaType{media: {}}}}
	api.AddOperation(&op)
	s.mux.HandleFunc("GET "+pattern, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", media)
		_, _ = w.Write(document()) // fails only if the caller is gone
	})
}

// index lists the operations for a person with curl.
func index(api *huma.OpenAPI) []byte {
	var lines []string
	for path, item := range api.Paths {
		for method, op := range map[string]*huma.Operation{"GET": item.Get, "POST": item.Post, "PUT": item.Put, "DELETE": item.Delete} {
			if op != nil {
				lines = append(lines, fmt.Sprintf("%-20s %-7s %s\n", path, method, op.Summary))
			}
		}
	}
	slices.Sort(lines)
	return []byte("holdfast lockd: locks over HTTP\n\n" + strings.Join(lines, ""))
}

// openAPI writes the OpenAPI document.
func openAPI(api *huma.OpenAPI) ([]byte, error) {
	compact, err := api.MarshalJSON()
	if err != nil {
		return nil, err
	}
	var tree any
	if err := json.Unmarshal(compact, &tree); err != nil {
		return nil, err
	}
	return json.MarshalIndent(tree, "", "  ") // sorted by key, so that two of them can be compared
}
