-- Put a job into its lane, unless it is in already, its lane is full, or its caller has enough.
-- ARGV: id, task, lane, request, timeout_ms, keep_ms, reply_to, caller, trace_context, idempotency_key, place, body_hash,
--       quota, queue_limit, deadline_problem
-- Returns {verdict, job id, milliseconds until there is room}.

local id, task, lane, request, timeout_ms, keep_ms, reply_to, caller, trace_context, key, place, body_hash, quota,
  limit, deadline_problem = unpack(ARGV)
timeout_ms, keep_ms, quota, limit = tonumber(timeout_ms), tonumber(keep_ms), tonumber(quota), tonumber(limit)
local queue = queue_key(task, lane)
local SWEEP_PAGE = 500

-- Somebody else waits for a job that is in already: it is told, too.
local function join(job)
  if reply_to == '' or FINAL[job.state] then return end
  for process in string.gmatch(job.reply_to, '%S+') do
    if process == reply_to then return end
  end
  redis.call('HSET', job_key(job.id), 'reply_to', job.reply_to .. ' ' .. reply_to)
end

-- Whether a stream has `entry` after `other`; also false where `entry` is none.
local function is_after(entry, other)
  local ms, seq = string.match(entry, '^(%d+)%-(%d+)$')
  if not ms then return false end
  local other_ms, other_seq = string.match(other, '^(%d+)%-(%d+)$')
  if ms == other_ms then return tonumber(seq) > tonumber(other_seq) end
  return tonumber(ms) > tonumber(other_ms)
end

-- Make room, where no worker does: drop what ended, or should have, while it waited. A page of the lane at most once a
-- second, so that refusing stays cheap; the next one goes on behind it, or what ended behind a page of live entries
-- would never be found.
local function sweep()
  local swept_ms, swept_to = 'swept_ms:' .. lane, 'swept_to:' .. lane
  if now - number(redis.call('HGET', task_key(task), swept_ms)) < 1000 then return end
  local from = redis.call('HGET', task_key(task), swept_to) or ''
  local delivered = last_delivered(queue)
  if not is_after(from, delivered) then from = delivered end  -- what was delivered is its worker's
  local page = redis.call('XRANGE', queue, '(' .. from, '+', 'COUNT', SWEEP_PAGE)
  local last = #page == SWEEP_PAGE and page[SWEEP_PAGE][1] or ''  -- at the lane's end, begin again
  redis.call('HSET', task_key(task), swept_ms, now, swept_to, last)
  for _, entry in ipairs(page) do
    local job = load_job(entry[2][2] or '')
    if job and not FINAL[job.state] and overdue(job) then end_job(job, 'failed', deadline_problem) end
    if not job or FINAL[job.state] or overdue(job) then redis.call('XDEL', queue, entry[1]) end
  end
end

-- Milliseconds until the lane is empty, at the rate at which the task's jobs end; a second to a minute.
local function drain_ms(depth)
  local rate = redis.call('HMGET', task_key(task), 'ended', 'ended_ms', 'since_ms')
  if not rate[1] then return 60000 end
  local count = number(rate[1]) * math.exp(-(now - number(rate[2])) / RATE_MEMORY_MS)
  local seen_ms = RATE_MEMORY_MS * (1 - math.exp(-math.max(now - number(rate[3]), 1000) / RATE_MEMORY_MS))
  return math.floor(math.min(math.max(depth * seen_ms / math.max(count, 0.001), 1000), 60000))
end

local known = load_job(id)
if known then
  join(known)
  return {'known', id, 0}
end

-- A request of many jobs has its key twice: as it is, for the newest of them, so that no other request may use it; and
-- with each job's place, behind a byte that no caller's key holds.
local key_names = {}
if key ~= '' then
  key_names[1] = idempotency_key(caller, key)
  if place ~= '' then key_names[2] = key_names[1] .. '\0' .. place end
end
for i, name in ipairs(key_names) do
  local first_id, first_hash = string.match(redis.call('GET', name) or '', '^(%S+) (.*)$')
  local first_job = first_id and load_job(first_id)
  if first_job then
    if first_hash ~= body_hash then return {'conflict', first_id, 0} end
    if i == #key_names then
      join(first_job)
      return {'known', first_id, 0}
    end
  end
end

if timeout_ms <= 0 then return {'expired', id, 0} end

if quota > 0 then
  redis.call('ZREMRANGEBYSCORE', quota_key(caller), '-inf', now)
  if redis.call('ZCARD', quota_key(caller)) >= quota then return {'over_quota', id, 1000} end
end

if waiting(queue) >= limit then
  sweep()
  local depth = waiting(queue)
  if depth >= limit then return {'full', id, drain_ms(depth)} end
end

local lifetime_ms = timeout_ms + keep_ms + GRACE_MS
local entry = redis.call('XADD', queue, '*', 'id', id)
redis.call('HSET', job_key(id), 'format_version', FORMAT_VERSION, 'state', 'queued', 'task', task, 'lane', lane,
           'entry', entry, 'request', request, 'created_ms', now, 'timeout_ms', timeout_ms,
           'deadline_ms', now + timeout_ms, 'keep_ms', keep_ms, 'reply_to', reply_to, 'caller', caller,
           'trace_context', trace_context, 'fence', 0)
redis.call('PEXPIRE', job_key(id), lifetime_ms)
redis.call('SADD', tasks_key, task)
for _, name in ipairs(key_names) do redis.call('SET', name, id .. ' ' .. body_hash, 'PX', lifetime_ms) end
if quota > 0 then
  redis.call('ZADD', quota_key(caller), now + timeout_ms + GRACE_MS, id)
  redis.call('PEXPIRE', quota_key(caller), lifetime_ms)
end
return {'accepted', id, 0}
