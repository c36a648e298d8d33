-- The decision of `static-routes` in LuaJIT: µs of CPU with a fresh Lua state for each
-- question, and with a warm one. The input is built anew each time, as a host must.
local ffi = require("ffi")
ffi.cdef [[
  typedef struct lua_State lua_State;
  lua_State *luaL_newstate(void);
  void luaL_openlibs(lua_State *L);
  int luaL_loadstring(lua_State *L, const char *s);
  int lua_pcall(lua_State *L, int nargs, int nresults, int errfunc);
  void lua_close(lua_State *L);
]]
local source = [[
  local function call_info()
    local call = { call_id = "0001", tenant = "demo", trunk = nil, direction = "inbound", source = { host = "127.0.0.1", port = 5060, transport = "udp" },
      request_uri = "sip:1000@127.0.0.1", called = "1000", caller = "2000", from_uri = "sip:2000@127.0.0.1", to_uri = "sip:1000@127.0.0.1",
      attestation = "none", codecs = { "PCMU", "PCMA", "telephone-event" }, headers = {}, received_ms = 0, ext = {} }
    for i = 1, 5 do call.headers[i] = { name = "X-Header-" .. i, value = "value " .. i } end
    return call
  end
  local rules = { { to = "^9", reject = 403 }, { to = ".", dial = { "sip:%s@127.0.0.1:5180" } } }
  function decide()
    local call = call_info()
    for _, rule in ipairs(rules) do
      if call.called:find(rule.to) then
        if rule.reject then return { reject = rule.reject } end
        local targets = {}
        for i, target in ipairs(rule.dial) do targets[i] = { uri = target:format(call.called), headers = {}, codecs = {} } end
        return { dial = targets }
      end
    end
    return { reject = 404 }
  end
  decide()
]]
local function fresh()
  local L = ffi.C.luaL_newstate()
  ffi.C.luaL_openlibs(L)
  assert(ffi.C.luaL_loadstring(L, source) == 0 and ffi.C.lua_pcall(L, 0, 0, 0) == 0)
  ffi.C.lua_close(L)
end
local function time(n, f)
  for _ = 1, n / 10 do f() end
  local start = os.clock()
  for _ = 1, n do f() end
  return (os.clock() - start) / n * 1e6
end
assert(loadstring(source))()
print(("LuaJIT: fresh %.1f µs, warm %.2f µs"):format(time(3000, fresh), time(100000, decide)))
