-- Give a dead letter another life: its own time again, no crashes held against it, nobody waiting for it.
-- ARGV: task, entry of the dead letter, queue_limit
-- Returns 'requeued', 'gone' or 'full'.

local task, entry, limit = ARGV[1], ARGV[2], tonumber(ARGV[3])
local found = redis.call('XRANGE', dead_key(task), entry, entry)[1]
if not found then return 'gone' end
local letter = {}
for i = 1, #found[2], 2 do letter[found[2][i]] = found[2][i + 1] end
local queue = queue_key(task, letter.lane)
if waiting(queue) >= limit then return 'full' end

redis.call('XDEL', dead_key(task), entry)
local before = load_job(letter.id)
local timeout_ms, keep_ms = number(letter.timeout_ms), number(letter.keep_ms)
local fence = before and before.fence or 0
redis.call('DEL', job_key(letter.id))
redis.call('HSET', job_key(letter.id), 'format_version', FORMAT_VERSION, 'state', 'queued', 'task', task,
           'lane', letter.lane, 'entry', redis.call('XADD', queue, '*', 'id', letter.id), 'request', letter.request,
           'created_ms', now, 'timeout_ms', timeout_ms, 'deadline_ms', now + timeout_ms, 'keep_ms', keep_ms,
           'reply_to', '', 'caller', letter.caller, 'trace_context', letter.trace_context, 'fence', fence)
redis.call('PEXPIRE', job_key(letter.id), timeout_ms + keep_ms + GRACE_MS)
return 'requeued'
