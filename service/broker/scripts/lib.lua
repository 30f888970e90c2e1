-- What all scripts share; the loader puts it, and the FORMAT_VERSION of records.py, in front of each of them.
--
-- KEYS[1] is the hash tag of the deployment, "{hrm}": every key is made from it (service/broker/keys.py makes the same
-- names), so a script touches one slot only. The clock is Redis' own. An entry of a queue holds a job's id and nothing
-- else; all that is known of the job is in its hash.

local ns = KEYS[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local GROUP = 'workers'
-- The consumer that keeps what was handed back: pending, first in line, and nobody's.
local RETURNED = 'returned'
local LANES = {'high', 'normal'}
local FINAL = {done = true, failed = true, cancelled = true, dead = true}

local REPLY_LENGTH = 10000
local REPLY_TTL_MS = 60000
local DEAD_LENGTH = 10000
-- A record outlives its deadline by this much beside its keep_ms, so that the worker that holds it can still answer.
local GRACE_MS = 60000
-- Completions are counted with a memory of about this long.
local RATE_MEMORY_MS = 30000

local function queue_key(task, lane) return ns .. ':queue:' .. task .. ':' .. lane end
local function nudge_key(task) return ns .. ':nudge:' .. task end
local function dead_key(task) return ns .. ':dead:' .. task end
local function task_key(task) return ns .. ':task:' .. task end
local function job_key(id) return ns .. ':job:' .. id end
local function idempotency_key(caller, key) return ns .. ':idempotency:' .. caller .. ':' .. key end
local function quota_key(caller) return ns .. ':quota:' .. caller end
local function reply_key(process) return ns .. ':reply:' .. process end
local tasks_key = ns .. ':tasks'
local workers_key = ns .. ':workers'
local descriptions_key = ns .. ':descriptions'
local control_channel = ns .. ':control'

-- A command on a queue's group. A Redis that came back without its data knows no group: it gets one.
local function in_group(queue, ...)
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err then
    if not string.find(reply.err, 'NOGROUP', 1, true) then return error(reply.err) end
    redis.call('XGROUP', 'CREATE', queue, GROUP, '0', 'MKSTREAM')
    return redis.call(...)
  end
  return reply
end

-- How many entries nobody holds: those that were never delivered, and those that were handed back.
local function waiting(queue)
  local pending = in_group(queue, 'XPENDING', queue, GROUP)
  local held = pending[1]
  for _, consumer in ipairs(pending[4] or {}) do
    if consumer[1] == RETURNED then held = held - tonumber(consumer[2]) end
  end
  return redis.call('XLEN', queue) - held
end

-- Whatever waits in the queue, and was not handed back, has a higher id.
local function last_delivered(queue)
  local group = redis.call('XINFO', 'GROUPS', queue)[1]
  for i = 1, #group, 2 do
    if group[i] == 'last-delivered-id' then return group[i + 1] end
  end
end

-- The number in a field, or 0. A record that somebody altered by hand must not stop a script, and everybody with it.
local function number(text)
  local value = tonumber(text or '') or 0
  return math.abs(value) < 1e15 and value or 0
end

local FIELDS = {'state', 'task', 'lane', 'entry', 'fence', 'owner', 'seated', 'cancelled', 'deadline_ms', 'keep_ms',
                'created_ms', 'reply_to', 'caller', 'format_version'}

-- The job of that id without its request, or nil where its record is gone.
local function load_job(id)
  local values = redis.pcall('HMGET', job_key(id), unpack(FIELDS))
  if values.err or not values[1] then return nil end
  local job = {id = id}
  for i, field in ipairs(FIELDS) do job[field] = values[i] or '' end
  if not string.find(job.entry, '^%d+%-%d+$') then job.entry = '0-0' end
  return job
end

local function drop_entry(queue, entry)
  redis.call('XACK', queue, GROUP, entry)
  redis.call('XDEL', queue, entry)
end

-- The job's end. Its entry is left alone: what was never delivered is dropped by the take that comes upon it.
local function end_job(job, state, payload)
  local key = job_key(job.id)
  redis.call('HSET', key, 'state', state, 'payload', payload, 'finished_ms', now)
  redis.call('HDEL', key, 'request', 'trace_context')
  redis.call('PEXPIRE', key, math.floor(math.max(number(job.keep_ms), 1000)))
  if job.caller ~= '' then redis.call('ZREM', quota_key(job.caller), job.id) end
  for process in string.gmatch(job.reply_to, '%S+') do
    local reply = reply_key(process)
    redis.call('XADD', reply, 'MAXLEN', '~', REPLY_LENGTH, '*', 'format_version', FORMAT_VERSION, 'id', job.id,
               'state', state, 'payload', payload)
    redis.call('PEXPIRE', reply, REPLY_TTL_MS)
  end
end

-- The end of a job whose entry somebody holds.
local function settle(job, state, payload)
  end_job(job, state, payload)
  drop_entry(queue_key(job.task, job.lane), job.entry)
end

local function held_by(job, worker, fence)
  return job.state == 'running' and job.owner == worker and job.fence == fence
end

local function overdue(job) return number(job.deadline_ms) <= now end

-- Give up a held job, for a reason that a person can read; the letter holds all that a requeue needs.
local function bury(job, reason, payload)
  local known = redis.call('HMGET', job_key(job.id), 'request', 'timeout_ms', 'trace_context')
  redis.call('XADD', dead_key(job.task), 'MAXLEN', '~', DEAD_LENGTH, '*', 'format_version', FORMAT_VERSION,
             'id', job.id, 'reason', reason, 'owner', job.owner, 'lane', job.lane, 'request', known[1] or '',
             'timeout_ms', number(known[2]), 'keep_ms', number(job.keep_ms), 'caller', job.caller,
             'trace_context', known[3] or '')
  settle(job, 'dead', payload)
end

-- Put a held job back into its queue, first in line.
local function give_back(job)
  redis.call('HSET', job_key(job.id), 'state', 'queued', 'seated', '')
  local queue = queue_key(job.task, job.lane)
  in_group(queue, 'XCLAIM', queue, GROUP, RETURNED, 0, job.entry, 'JUSTID')
end

-- Wake the workers that wait for this task's next entry: what was handed back adds none.
local function nudge(task) redis.call('XADD', nudge_key(task), 'MAXLEN', 1, '*', 'returned', 1) end
