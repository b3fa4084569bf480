// A gateway with one worker for the tests of the module for Higress: proxytest runs the module, and HTTP requests, the
// calls to the provider and the calls to Redis are real.
//
//	browser ──► url ────► proxytest: the module ──► calls to Redis ──► a real Redis
//	tests ────► control ┘                      └──► HTTP calls ──────► a real provider
//
// Everything of proxytest runs in one goroutine, the loop, as everything of an Envoy worker runs in one thread.
// The options are JSON in the environment variable GATEWAY. A line of JSON on stdout says {"url": …, "control": …}.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math/rand"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/higress-group/proxy-wasm-go-sdk/proxywasm/proxytest"
	"github.com/higress-group/proxy-wasm-go-sdk/proxywasm/types"
)

const networkError = 1

type options struct {
	Module      string            `json:"module"`
	Plugin      json.RawMessage   `json:"plugin"`
	Environment map[string]string `json:"environment"`
	Services    map[string]string `json:"services"` // addresses, by cluster
}

type call struct {
	Service string `json:"service"`
	Query   []byte `json:"query"` // base64
}

type login struct {
	Service  string `json:"service"`
	Username string `json:"username"`
	Password string `json:"password"`
	Timeout  uint32 `json:"timeout"`
}

// faults is what goes wrong from now on.
type faults struct {
	Shuffled   bool     `json:"shuffled"` // replies come in any order
	Silent     bool     `json:"silent"`   // replies never come
	Replies    [][]byte `json:"replies"`  // base64: these come in place of the next ones
	InitStatus uint32   `json:"init_status"`
	CallStatus uint32   `json:"call_status"`
}

type exchange struct {
	headers [][2]string
	answer  chan answer
}

type answer struct {
	status  int
	headers [][2]string
	body    []byte
}

type loop struct {
	module   *module
	host     proxytest.HostEmulator
	events   chan func()
	services map[string]*service
	requests map[uint32]*exchange
	asked    map[uint32]bool
	period   uint32
	tick     *time.Timer
	faults   faults
	calls    []call
	inits    []login
}

func main() {
	log.SetFlags(0)
	log.SetOutput(moduleLog{})
	var wanted options
	must(json.Unmarshal([]byte(os.Getenv("GATEWAY")), &wanted))
	wasm, err := os.ReadFile(wanted.Module)
	must(err)
	l := &loop{
		events: make(chan func(), 1<<16), services: map[string]*service{},
		requests: map[uint32]*exchange{}, asked: map[uint32]bool{},
	}
	for name, address := range wanted.Services {
		l.services[name] = &service{loop: l, address: address, timeout: time.Second}
	}
	l.module, err = load(wasm, wanted.Environment, l)
	must(err)
	option := proxytest.NewEmulatorOption().WithVMContext(l.module).WithPluginConfiguration(wanted.Plugin)
	l.host, _ = proxytest.NewHostEmulator(option)
	l.host.RegisterForeignFunction("declare_property", func([]byte) []byte { return []byte{0} })
	if l.host.StartVM() != types.OnVMStartStatusOK || l.host.StartPlugin() != types.OnPluginStartStatusOK {
		os.Exit(1)
	}
	urls := map[string]string{}
	for name, handler := range map[string]http.HandlerFunc{"url": l.serve, "control": l.control} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		must(err)
		go func() { must(http.Serve(listener, handler)) }()
		urls[name] = "http://" + listener.Addr().String()
	}
	line, _ := json.Marshal(urls)
	fmt.Println(string(line))
	for l.settle(); ; l.settle() {
		(<-l.events)()
	}
}

func must(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// moduleLog prints what the module logs; proxytest also logs queries, which have sessions in them.
type moduleLog struct{}

func (moduleLog) Write(line []byte) (int, error) {
	if _, text, is := bytes.Cut(line, []byte("_log: ")); is && bytes.HasPrefix(line, []byte("proxy_")) {
		fmt.Printf("%s", text)
	}
	return len(line), nil
}

func now() uint64 { return uint64(time.Now().UnixNano()) }

// later lets the loop do something; call it from any goroutine.
func (l *loop) later(event func()) { l.events <- event }

// settle carries out what the module asked for in the last callback.
func (l *loop) settle() {
	for _, asked := range l.host.GetCalloutAttributesFromContext(proxytest.PluginContextID) {
		if !l.asked[asked.CalloutID] {
			l.asked[asked.CalloutID] = true
			go l.ask(asked)
		}
	}
	for id, request := range l.requests {
		if local := l.host.GetSentLocalResponse(id); local != nil {
			l.finish(id, request, answer{int(local.StatusCode), local.Headers, local.Data})
		} else if l.host.GetCurrentHttpStreamAction(id) == types.ActionContinue {
			l.finish(id, request, l.upstream(id))
		}
	}
	if period := l.host.GetTickPeriod(); period != l.period {
		l.period = period
		l.rearm()
	}
}

func (l *loop) rearm() {
	if l.tick != nil {
		l.tick.Stop()
	}
	if l.period > 0 {
		l.tick = time.AfterFunc(time.Duration(l.period)*time.Millisecond, func() {
			l.later(func() {
				l.module.active = proxytest.PluginContextID
				l.host.Tick()
				l.rearm()
			})
		})
	}
}

func (l *loop) finish(id uint32, request *exchange, done answer) {
	delete(l.requests, id)
	l.host.CompleteHttpContext(id)
	request.answer <- done
}

// upstream answers with the headers that it gets.
func (l *loop) upstream(id uint32) answer {
	body, _ := json.Marshal(map[string]any{"headers": l.host.GetCurrentRequestHeaders(id)})
	l.module.added = nil
	l.host.CallOnResponseHeaders(id, [][2]string{{":status", "200"}, {"content-type", "application/json"}}, false)
	headers := append(l.host.GetCurrentResponseHeaders(id), l.module.added...)
	return answer{200, append(headers, [2]string{"x-upstream", "1"}), body}
}

func (l *loop) serve(to http.ResponseWriter, from *http.Request) {
	headers := [][2]string{
		{":method", from.Method}, {":path", from.URL.RequestURI()}, {":authority", from.Host}, {":scheme", "http"},
	}
	for name, values := range from.Header {
		for _, value := range values {
			headers = append(headers, [2]string{strings.ToLower(name), value})
		}
	}
	request := &exchange{headers: headers, answer: make(chan answer, 1)}
	l.later(func() {
		id := l.host.InitializeHttpContext()
		l.requests[id] = request
		l.host.CallOnRequestHeaders(id, request.headers, true)
	})
	done := <-request.answer
	for _, header := range done.headers {
		if !strings.HasPrefix(header[0], ":") {
			to.Header().Add(header[0], header[1])
		}
	}
	to.WriteHeader(done.status)
	_, _ = to.Write(done.body)
}

// ask makes an HTTP call of the module, as the bridge does.
func (l *loop) ask(asked proxytest.HttpCalloutAttribute) {
	head := map[string]string{}
	header := http.Header{}
	for _, pair := range asked.Headers {
		if strings.HasPrefix(pair[0], ":") {
			head[pair[0]] = pair[1]
		} else {
			header.Add(pair[0], pair[1])
		}
	}
	target, _ := url.Parse(head[":scheme"] + "://" + head[":authority"] + head[":path"])
	request := &http.Request{Method: head[":method"], URL: target, Header: header}
	request.Body, request.ContentLength = io.NopCloser(bytes.NewReader(asked.Body)), int64(len(asked.Body))
	response, err := (&http.Transport{}).RoundTrip(request)
	headers, body := [][2]string{}, []byte{}
	if err == nil {
		body, _ = io.ReadAll(response.Body)
		response.Body.Close()
		headers = append(headers, [2]string{":status", fmt.Sprint(response.StatusCode)})
		for name, values := range response.Header {
			for _, value := range values {
				headers = append(headers, [2]string{strings.ToLower(name), value})
			}
		}
	}
	l.later(func() { l.host.CallOnHttpCallResponse(asked.CalloutID, headers, nil, body) })
}

// The calls to Redis.

func (l *loop) redisInit(cluster, username, password string, timeout uint32) uint32 {
	l.inits = append(l.inits, login{cluster, username, password, timeout})
	name, parameters, _ := strings.Cut(cluster, "?")
	service := l.services[name]
	if service == nil {
		return badArgument
	}
	if l.faults.InitStatus != ok {
		return l.faults.InitStatus
	}
	values, _ := url.ParseQuery(parameters)
	service.end()
	service.username, service.password, service.database = username, password, values.Get("db")
	service.timeout = time.Duration(timeout) * time.Millisecond
	return ok
}

func (l *loop) redisCall(name string) uint32 {
	if l.services[name] == nil {
		return badArgument
	}
	return l.faults.CallStatus
}

func (l *loop) redisCalled(token uint32, name string, query []byte) {
	l.calls = append(l.calls, call{name, query})
	l.later(func() { l.services[name].send(token, query) })
}

// answer hands a reply of Redis to the module, unless a fault comes first.
func (l *loop) answer(token uint32, reply []byte) {
	if l.faults.Silent {
		return
	}
	if len(l.faults.Replies) > 0 {
		reply, l.faults.Replies = l.faults.Replies[0], l.faults.Replies[1:]
	}
	if l.faults.Shuffled {
		delay := time.Duration(rand.Intn(20_000)) * time.Microsecond
		time.AfterFunc(delay, func() { l.later(func() { l.reply(token, ok, reply) }) })
		return
	}
	l.reply(token, ok, reply)
}

func (l *loop) reply(token uint32, status int32, reply []byte) {
	l.host.CallOnRedisCallResponse(token, status, reply)
}

// control answers the tests.
func (l *loop) control(to http.ResponseWriter, from *http.Request) {
	body, _ := io.ReadAll(from.Body)
	answers := make(chan any, 1)
	l.later(func() {
		switch from.URL.Path {
		case "/calls":
			answers <- l.calls
		case "/inits":
			answers <- l.inits
		case "/counter":
			count, _ := l.host.GetCounterMetric(from.URL.Query().Get("name"))
			answers <- count
		case "/faults":
			wanted := faults{}
			err := json.Unmarshal(body, &wanted)
			l.faults = wanted
			answers <- err == nil
		case "/forget":
			// The cluster has changed: Envoy makes a new client for it, without a login.
			for _, service := range l.services {
				service.end()
				service.username, service.password, service.database = "", "", ""
				service.timeout = time.Second
			}
			answers <- true
		}
	})
	_ = json.NewEncoder(to).Encode(<-answers)
}
