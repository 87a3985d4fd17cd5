-- What all workers know of one endpoint, and the only code that changes it. One call is one exchange of one process:
-- it says what became of its takes (`ends`), which it still holds (`mine`), and asks for more (`asks`). Atomic, on the
-- server's clock alone; times are seconds. Every take is known by its id, so applying an exchange twice changes nothing.
local STATE, SLOTS, TAKES, DONE, QUEUE, MEMBERS, INDEX = unpack(KEYS)
local rules = cjson.decode(ARGV[1])
local told = cjson.decode(ARGV[2])
local min, max, exp = math.min, math.max, math.exp

local now = told.now -- only tests say what time it is
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) + tonumber(time[2]) / 1e6
end

local s = { -- the state, with what stands for a field that was never written
  next = 0, gap = 0, known = 0, bound = 0, last = 0, pause = 0, tokens_next = 0, per_s = 0, tokens_per_s = 0, slow = 0, bad = 0, aim = 0, cut = 0, cut_at = 0, grown = now,
  lately = 0, lately_limited = 0, lately_at = now, fails = 0, opens = 0, opened = 0, away_until = 0, probe = 'none', probe_until = 0,
  calls = 0, retries = 0, counted = now, granted = 0, retried = 0, limited = 0, failed = 0, waited = 0, kept = 0,
}
local raw = redis.call('HGETALL', STATE)
for i = 1, #raw, 2 do
  s[raw[i]] = tonumber(raw[i + 1]) or raw[i + 1]
end
if not s.born then
  s.born = now
  redis.call('SADD', INDEX, told.endpoint)
end
local born = string.format('%.6f', s.born)

local function save()
  local flat = {}
  for name, value in pairs(s) do
    flat[#flat + 1] = name
    flat[#flat + 1] = value
  end
  redis.call('HSET', STATE, unpack(flat))
end

if told.born and told.born ~= born then -- it was wiped: who holds slots shows them before anybody gets one
  save()
  return {born, 'reborn', string.format('%.6f', now), '0', '0'}
end

-- How many were sent lately, and how many of them were answered 429.
local function count(sent, limited, start)
  local lately = max(rules.lately_s, rules.lately_sent * s.gap)
  local kept = exp(-(now - s.lately_at) / lately)
  s.lately_at = now
  s.lately = s.lately * kept + sent
  s.lately_limited = s.lately_limited * kept + limited * exp(-max(now - start, 0) / lately)
end

local function tolerated()
  return s.known == 1 and rules.tolerated or rules.tolerated_unknown
end

-- The share of the last ones that was admitted. A few that were not say little: nothing against a limit that was
-- configured, and nothing else unless they are nearly all there is.
local function admitted()
  local limited, sent = s.lately_limited, s.lately
  local few = limited <= rules.excused and (s.known == 1 or limited <= rules.excused_few * sent)
  if few or limited <= rules.excused_share * sent then
    return 1
  end
  return 1 - limited / (sent + rules.doubt)
end

-- Once per round trip: what was sent before the last cut took effect says nothing about the pace after it.
local function cut(start, pace)
  if start <= s.cut or s.gap == 0 then
    return
  end
  local rate, kept = s.rate or 1 / s.gap, admitted()
  s.cut = max(now, s.last)
  if s.slow > 0 then
    rate = min(rate, pace) -- the one at which it was sent, not the one reached since
    if s.slow <= rules.proof then -- it may come of connections that are just being made
      s.rate, s.grown = max(rate, rules.slowest), now + s.slow * rules.doubling_s
      return
    end
    kept, s.slow = min(kept, rules.cut_first), 0
  end
  local step = min(max(rules.probing / (tolerated() * rate), rules.step_least), rules.step_most)
  s.bad = rate
  s.aim = rate * (1 - step)
  s.rate = max(min(rate * kept, s.aim), rate * rules.cut_most, rules.slowest)
  s.cut_at = now
  s.grown = now
end

-- Slowly while the next 429 is to be expected, and ever faster when it does not come.
local function grow(ceiling)
  local passed = min(now - s.grown, 1)
  s.grown = max(s.grown, now)
  if not s.rate or passed <= 0 then
    return
  end
  if s.slow > 0 then
    s.rate = s.rate * 2 ^ min(passed / rules.doubling_s, 1)
  else
    local expected = min(1 / (tolerated() * s.rate), rules.expected_s)
    local calm = max(now - s.cut_at - expected, 0) / max(rules.calm_s, rules.calm_sent * s.gap)
    local probing = s.bad * rules.probing * (1 + calm * calm)
    s.rate = s.rate + passed * (probing + rules.recovering * max(s.aim - s.rate, 0))
  end
  s.rate = min(s.rate, ceiling or rules.fastest)
end

local function pause(after, start)
  if after >= 0 then
    if start == s.last then
      s.next = min(s.next, now + after) -- the place was not used, and the endpoint says when there is one
    end
    s.pause = max(s.pause, now + min(after, rules.longest_pause_s))
    s.next = max(s.next, s.pause + (rules.burst - 1) * s.gap)
  end
end

local function open()
  s.opens = s.opens + 1
  s.opened = now
  s.away_until = now + min(rules.away_longest_s, rules.away_first_s * 2 ^ min(s.opens - 1, 20))
  s.probe = 'none'
end

local function alive(start)
  s.fails = 0
  if s.opens > 0 and start > s.opened then
    s.opens = 0
    s.probe = 'none'
  end
end

local function failed(probing)
  s.fails = s.fails + 1
  if probing or (s.opens == 0 and s.fails >= rules.failures) then
    open()
  end
end

-- When a take was to start, and the pace at that time; nil when it is not known.
local function taken(id)
  local found = redis.call('HGET', TAKES, id)
  local start, gap = string.match(found or '', '^(%S+) (%S+)$')
  return tonumber(start), gap and 1 / tonumber(gap)
end

local function finish(id, kind, after, refund_s)
  if redis.call('ZSCORE', DONE, id) then
    return
  end
  local start, pace = taken(id)
  local probing = s.probe == 'take:' .. id
  start = start or 0 -- from before a wipe
  redis.call('ZADD', DONE, now + rules.remember_s, id)
  redis.call('ZREM', SLOTS, id)
  redis.call('HDEL', TAKES, id)
  s.tokens_next = s.tokens_next - refund_s
  if kind == 'ok' or kind == 'alive' then
    alive(start)
  elseif kind == 'limited' then
    s.limited = s.limited + 1
    alive(start)
    count(0, 1, start)
    s.slow = s.slow > 0 and s.slow + 1 or 0
    cut(start, pace)
    pause(after, start)
  elseif kind == 'failed' then
    s.failed = s.failed + 1
    failed(probing)
    pause(after, 0)
  elseif probing then
    s.probe = 'none'
  end
end

local function hold(ids)
  for i = 1, #ids do
    redis.call('ZADD', SLOTS, now + rules.lease_s, ids[i])
  end
end

-- The dead hold nothing: their leases run out.
local function bury()
  local dead = redis.call('ZRANGEBYSCORE', SLOTS, '-inf', now, 'LIMIT', 0, 1000)
  if #dead > 0 then
    redis.call('ZREM', SLOTS, unpack(dead))
    redis.call('HDEL', TAKES, unpack(dead))
  end
  redis.call('ZREMRANGEBYSCORE', DONE, '-inf', now)
  redis.call('ZREMRANGEBYSCORE', QUEUE, '-inf', now - rules.gone_s)
  redis.call('ZADD', MEMBERS, now, told.instance)
  redis.call('ZREMRANGEBYSCORE', MEMBERS, '-inf', now - rules.member_s)
end

-- One slot is left for every other process that has long waited for its first.
local function free_slots(most)
  local starving = redis.call('ZCOUNT', QUEUE, '-inf', now - rules.starving_s)
  local mine = redis.call('ZSCORE', QUEUE, told.instance)
  if mine and tonumber(mine) <= now - rules.starving_s then
    starving = starving - 1
  end
  return most - redis.call('ZCARD', SLOTS) - starving
end

-- Limits may be changed while places are given ahead: what was given under the old one counts as so many requests and
-- tokens, not as so many seconds.
local function heed(per_s, tokens_per_s)
  if per_s > 0 then
    if s.per_s > 0 and s.bound > now then
      s.bound = now + (s.bound - now) * s.per_s / per_s
    end
    s.per_s = per_s
  end
  if tokens_per_s > 0 then
    if s.tokens_per_s > 0 and s.tokens_next > now then
      s.tokens_next = now + (s.tokens_next - now) * s.tokens_per_s / tokens_per_s
    end
    s.tokens_per_s = tokens_per_s
  end
end

-- When the next one may start. Places are given for a moment ahead, in the order in which they were asked for. Whatever
-- places were given again because a 429 left them unused, a configured limit holds for all requests, with one more.
local function place(per_s, tokens_per_s)
  local ceiling = per_s > 0 and per_s * rules.headroom or nil
  if not s.rate and not ceiling then
    s.rate, s.slow, s.grown = rules.first, 1, now
  end
  if s.gap > 0 and s.pause <= now and s.next - (rules.burst - 1) * s.gap > now then
    grow(ceiling) -- only a pace that holds somebody back can be too slow
  else
    s.grown = max(s.grown, now)
  end
  local rate = min(s.rate or ceiling, ceiling or rules.fastest)
  local gap = 1 / rate
  local burst = ceiling and rules.burst or 1
  local due = s.gap > 0 and s.next - s.gap + gap or 0 -- as if the last one had been spaced by today's gap
  local bound = per_s > 0 and s.bound - burst / per_s or 0
  local tokens = tokens_per_s > 0 and s.tokens_next or 0
  return max(now, due - (burst - 1) * gap, bound, s.pause, tokens), due, gap
end

local function away()
  if s.opens == 0 then
    return nil
  elseif now < s.away_until then
    return s.away_until - now
  elseif s.probe ~= 'none' and now < s.probe_until then
    return rules.probe_look_s
  end
  return nil
end

local function retries_spent()
  local kept = exp(-(now - s.counted) / rules.budget_s)
  s.calls, s.retries, s.counted = s.calls * kept, s.retries * kept, now
  return s.retries + 1 > rules.retry_share * s.calls + rules.retry_floor
end

local function grant(id, tokens_s, retry, per_s, start, due, gap, waited)
  s.next, s.gap, s.last = max(due, start) + gap, gap, start
  s.known = per_s > 0 and 1 or 0
  s.bound = per_s > 0 and max(s.bound, start) + 1 / per_s or 0
  s.tokens_next = max(s.tokens_next, start) + tokens_s
  count(1, 0, start)
  redis.call('ZADD', SLOTS, now + rules.lease_s, id)
  redis.call('HSET', TAKES, id, string.format('%.17g %.17g', start, gap))
  if s.opens > 0 then
    s.probe, s.probe_until = 'take:' .. id, now + rules.probe_s
  end
  if retry then
    s.retries, s.retried = s.retries + 1, s.retried + 1
  else
    s.calls = s.calls + 1
  end
  s.granted = s.granted + 1
  s.waited = s.waited + waited + (start - now)
end

local function ask(id, tokens_s, retry, most, per_s, waited, tokens_per_s)
  local known = taken(id)
  if known then
    return 'go', max(known - now, 0)
  elseif redis.call('ZSCORE', DONE, id) then
    return 'go', 0
  end
  local away_s = away()
  if away_s then
    return 'away', away_s
  elseif retries_spent() and retry then
    return 'spent', rules.budget_s / 8
  elseif free_slots(most) < 1 then
    return 'full', 0
  end
  heed(per_s, tokens_per_s)
  local start, due, gap = place(per_s, tokens_per_s)
  if start - now > rules.horizon_s then
    return 'pace', start - now - rules.horizon_s
  end
  grant(id, tokens_s, retry, per_s, start, due, gap, waited)
  return 'go', start - now
end

bury()
for _, e in ipairs(told.ends) do
  finish(e[1], e[2], e[3], e[4])
end
hold(told.mine)

local answers, blocked = {}, false
for _, a in ipairs(told.asks) do
  local verdict, seconds = ask(a[1], a[2], a[3], a[4], a[5], a[6], a[7])
  answers[#answers + 1] = verdict
  answers[#answers + 1] = string.format('%.6f', seconds)
  if verdict ~= 'go' and verdict ~= 'spent' then
    blocked = verdict == 'full'
    break -- first come, first served: nobody passes the one who waits
  elseif verdict == 'go' then
    redis.call('ZREM', QUEUE, told.instance)
  end
end
if blocked then
  redis.call('ZADD', QUEUE, 'NX', now, told.instance)
elseif #told.asks > 0 then
  redis.call('ZREM', QUEUE, told.instance)
end

local keeping = now - s.kept > rules.keep_s / 24
s.kept = keeping and now or s.kept
save()
for i = 1, keeping and #KEYS or 0 do
  redis.call('EXPIRE', KEYS[i], rules.keep_s)
end
local pace = s.gap > 0 and 1 / s.gap or 0
local members = tostring(redis.call('ZCARD', MEMBERS))
return {born, 'told', string.format('%.6f', now), string.format('%.6f', pace), members, unpack(answers)}
