package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"os"
	"reflect"
	_ "unsafe" // for go:linkname

	"github.com/higress-group/proxy-wasm-go-sdk/proxywasm/types"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/higress-group/proxy-wasm-go-sdk/proxywasm/proxytest"
)

// The functions of the host are proxytest's own. What it does not let a test choose is made here: the clocks and
// random numbers of the module, and the callbacks that it has besides those of a Go plugin.

//go:linkname exportHostABI github.com/higress-group/proxy-wasm-go-sdk/proxywasm/proxytest.exportHostABI
func exportHostABI(ctx context.Context, r wazero.Runtime) error

//go:linkname withPluginContextID github.com/higress-group/proxy-wasm-go-sdk/proxywasm/proxytest.withPluginContextID
func withPluginContextID(ctx context.Context, id uint32) context.Context

const (
	ok              = 0
	badArgument     = 2
	internalFailure = 10
	unimplemented   = 12

	responseHeaders = 2
)

// Functions that only read the module's memory. proxytest keeps slices of that memory, and the garbage collector of a Go
// plugin keeps what they point to. This module frees it, so the functions get copies.
var readers = map[string]bool{
	"proxy_add_header_map_value": true, "proxy_replace_header_map_value": true, "proxy_set_property": true,
	"proxy_send_local_response": true, "proxy_set_shared_data": true, "proxy_http_call": true,
	"proxy_redis_call": true, "proxy_redis_init": true,
}

// hooks see the calls to Redis.
type hooks interface {
	// redisInit and redisCall give a status in place of proxytest's; 0 for that.
	redisInit(service, username, password string, timeout uint32) uint32
	redisCall(service string) uint32
	// redisCalled has the token that proxytest gave.
	redisCalled(token uint32, service string, query []byte)
}

// module runs a wasm module as a VM of proxytest.
type module struct {
	guest    api.Module
	ctx      context.Context
	hooks    hooks
	active   uint32 // the context that is the effective one for proxytest
	switchTo func(uint32)
	added    [][2]string // headers of the response whose callback runs
}

func load(wasm []byte, environment map[string]string, hooks hooks) (*module, error) {
	m := &module{ctx: withPluginContextID(context.Background(), proxytest.PluginContextID), hooks: hooks}
	runtime := wazero.NewRuntime(m.ctx)
	if _, err := wasi_snapshot_preview1.Instantiate(m.ctx, runtime); err != nil {
		return nil, err
	}
	if err := exportHostABI(m.ctx, hostRuntime{runtime, m}); err != nil {
		return nil, err
	}
	compiled, err := runtime.CompileModule(m.ctx, wasm)
	if err != nil {
		return nil, err
	}
	config := wazero.NewModuleConfig().WithStartFunctions("_initialize").WithStderr(os.Stderr).
		WithSysWalltime().WithSysNanotime().WithRandSource(rand.Reader)
	for name, value := range environment {
		config = config.WithEnv(name, value)
	}
	m.guest, err = runtime.InstantiateModule(m.ctx, compiled, config)
	return m, err
}

func (m *module) call(name string, arguments ...uint64) uint64 {
	results, err := m.guest.ExportedFunction(name).Call(m.ctx, arguments...)
	if err != nil {
		panic(err)
	}
	if len(results) == 0 {
		return 0
	}
	return results[0]
}

// callback runs a callback of this context.
func (m *module) callback(context uint32, name string, arguments ...uint64) uint64 {
	m.active = context
	return m.call(name, append([]uint64{uint64(context)}, arguments...)...)
}

func (m *module) OnVMStart(size int) types.OnVMStartStatus {
	return m.callback(proxytest.PluginContextID, "proxy_on_vm_start", uint64(size)) == 1
}

func (m *module) NewPluginContext(id uint32) types.PluginContext {
	m.call("proxy_on_context_create", uint64(id), 0)
	return &plugin{module: m, id: id}
}

type plugin struct {
	types.DefaultPluginContext
	*module
	id uint32
}

func (p *plugin) OnPluginStart(size int) types.OnPluginStartStatus {
	return p.callback(p.id, "proxy_on_configure", uint64(size)) == 1
}

func (p *plugin) OnPluginDone() bool { return p.callback(p.id, "proxy_on_done") == 1 }

func (p *plugin) OnTick() { p.callback(p.id, "proxy_on_tick") }

func (p *plugin) NewHttpContext(id uint32) types.HttpContext {
	p.call("proxy_on_context_create", uint64(id), uint64(p.id))
	return &request{module: p.module, id: id}
}

type request struct {
	types.DefaultHttpContext
	*module
	id uint32
}

func (r *request) OnHttpRequestHeaders(count int, end bool) types.Action {
	return types.Action(r.callback(r.id, "proxy_on_request_headers", uint64(count), flag(end)))
}

func (r *request) OnHttpRequestBody(size int, end bool) types.Action {
	return types.Action(r.callback(r.id, "proxy_on_request_body", uint64(size), flag(end)))
}

func (r *request) OnHttpResponseHeaders(count int, end bool) types.Action {
	return types.Action(r.callback(r.id, "proxy_on_response_headers", uint64(count), flag(end)))
}

func (r *request) OnHttpStreamDone() {
	r.callback(r.id, "proxy_on_done")
	r.call("proxy_on_delete", uint64(r.id))
}

func flag(value bool) uint64 {
	if value {
		return 1
	}
	return 0
}

// hostRuntime lets proxytest define its host module by hostBuilder.
type hostRuntime struct {
	wazero.Runtime
	module *module
}

func (r hostRuntime) NewHostModuleBuilder(name string) wazero.HostModuleBuilder {
	builder := hostBuilder{r.Runtime.NewHostModuleBuilder(name), r.module}
	if name == "env" {
		builder.addMissing()
	}
	return builder
}

type hostBuilder struct {
	wazero.HostModuleBuilder
	module *module
}

func (b hostBuilder) NewFunctionBuilder() wazero.HostFunctionBuilder {
	return &functionBuilder{HostFunctionBuilder: b.HostModuleBuilder.NewFunctionBuilder(), host: b}
}

// addMissing defines functions of the ABI that proxytest does not have. Go plugins ask WASI for the time, and have no
// gRPC.
func (b hostBuilder) addMissing() {
	define := func(name string, function any) {
		b.HostModuleBuilder.NewFunctionBuilder().WithFunc(function).Export(name)
	}
	define("proxy_get_current_time_nanoseconds", func(ctx context.Context, guest api.Module, at uint32) uint32 {
		guest.Memory().WriteUint64Le(at, now())
		return ok
	})
	define("proxy_get_status", func(_, _, _ uint32) uint32 { return unimplemented })
	define("proxy_grpc_stream", func(_, _, _, _, _, _, _, _, _ uint32) uint32 { return unimplemented })
	define("proxy_grpc_send", func(_, _, _, _ uint32) uint32 { return unimplemented })
	define("proxy_grpc_cancel", func(_ uint32) uint32 { return unimplemented })
	define("proxy_grpc_close", func(_ uint32) uint32 { return unimplemented })
}

type functionBuilder struct {
	wazero.HostFunctionBuilder
	host     hostBuilder
	function any
}

func (f *functionBuilder) WithParameterNames(names ...string) wazero.HostFunctionBuilder {
	f.HostFunctionBuilder = f.HostFunctionBuilder.WithParameterNames(names...)
	return f
}

func (f *functionBuilder) WithResultNames(names ...string) wazero.HostFunctionBuilder {
	f.HostFunctionBuilder = f.HostFunctionBuilder.WithResultNames(names...)
	return f
}

func (f *functionBuilder) WithFunc(function any) wazero.HostFunctionBuilder {
	f.function = function
	return f
}

func (f *functionBuilder) Export(name string) wazero.HostModuleBuilder {
	f.HostFunctionBuilder.WithFunc(f.host.module.wrap(name, f.function)).Export(name)
	return f.host
}

// wrap gives proxytest's function what it needs of a module that is not written in Go.
func (m *module) wrap(name string, function any) any {
	inner := reflect.ValueOf(function)
	if name == "proxy_set_effective_context" {
		m.switchTo = func(context uint32) { inner.Call([]reflect.Value{reflect.ValueOf(context)}) }
		return func(context uint32) uint32 {
			m.active = context
			m.switchTo(context)
			return ok
		}
	}
	if !readers[name] {
		return function
	}
	return reflect.MakeFunc(inner.Type(), func(arguments []reflect.Value) []reflect.Value {
		guest := arguments[1].Interface().(api.Module)
		copying := api.Module(copyingModule{guest})
		arguments[1] = reflect.ValueOf(&copying).Elem()
		number := func(index int) uint32 { return uint32(arguments[index].Uint()) }
		text := func(index int) string {
			if number(index+1) == 0 {
				return ""
			}
			content, _ := copying.Memory().Read(number(index), number(index+1))
			return string(content)
		}
		switch name {
		case "proxy_http_call":
			if number(5) == 0 {
				// proxytest takes any cluster, but no call without headers. Envoy knows no such cluster.
				return []reflect.Value{reflect.ValueOf(uint32(badArgument))}
			}
		case "proxy_add_header_map_value":
			if number(2) == responseHeaders {
				// proxytest joins the values of a header, which `set-cookie` does not allow.
				m.added = append(m.added, [2]string{text(3), text(5)})
				return []reflect.Value{reflect.ValueOf(uint32(ok))}
			}
		case "proxy_redis_init":
			if status := m.hooks.redisInit(text(2), text(4), text(6), number(8)); status != ok {
				return []reflect.Value{reflect.ValueOf(status)}
			}
		case "proxy_redis_call":
			if status := m.hooks.redisCall(text(2)); status != ok {
				return []reflect.Value{reflect.ValueOf(status)}
			}
			// As in Envoy, a call belongs to the root context, whichever one makes it.
			active := m.active
			m.switchTo(proxytest.PluginContextID)
			results := inner.Call(arguments)
			m.switchTo(active)
			token, _ := guest.Memory().ReadUint32Le(number(6))
			m.hooks.redisCalled(token, text(2), []byte(text(4)))
			return results
		}
		return inner.Call(arguments)
	}).Interface()
}

type copyingModule struct{ api.Module }

func (m copyingModule) Memory() api.Memory { return copyingMemory{m.Module.Memory()} }

type copyingMemory struct{ api.Memory }

func (m copyingMemory) Read(offset, count uint32) ([]byte, bool) {
	content, is := m.Memory.Read(offset, count)
	return bytes.Clone(content), is
}
