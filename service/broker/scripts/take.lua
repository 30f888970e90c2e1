-- Deliver waiting jobs to a worker: what was handed back first, then the lanes, until its room is filled or they are empty.
-- ARGV: worker, high_per_normal, deadline_problem, unreadable_problem, then task, room, ahead for each task
-- Returns {claims, marks, counts}.
--   a claim: {id, task, lane, request, fence, deliveries, deadline_in_ms, waited_ms, trace_context}
--   a mark:  {key, id}: whatever is put into this stream from now on has a higher id. Only of tasks that were emptied.
--   a count: {task, event, how many}: what ended here without a claim, by `deadline`, `cancelled` or as `unreadable`.

local worker, high_per_normal, deadline_problem, unreadable_problem = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
-- Entries that are skipped cost time, too: after this many the next tick goes on.
local MOST_SKIPPED = 500

local claims, marks, skipped = {}, {}, 0
local counts = {}

local function count(task, event)
  counts[task] = counts[task] or {}
  counts[task][event] = (counts[task][event] or 0) + 1
end

-- Make a claim of an entry that is pending for this worker; false where it is skipped.
local function deliver(task, lane, entry, seated)
  local queue = queue_key(task, lane)
  local job = load_job(entry[2] and entry[2][2] or '')
  if not job or FINAL[job.state] then
    drop_entry(queue, entry[1])
    if job and job.state == 'cancelled' then count(task, 'cancelled') end
    if job and job.state == 'failed' then count(task, 'deadline') end
    return false
  end
  job.task, job.lane, job.entry = task, lane, entry[1]
  if overdue(job) then
    settle(job, 'failed', deadline_problem)
    count(task, 'deadline')
    return false
  end
  if number(job.format_version) > FORMAT_VERSION then
    bury(job, 'format_version ' .. job.format_version .. ' is newer than its worker', unreadable_problem)
    count(task, 'unreadable')
    return false
  end
  local fence = number(job.fence) + 1
  redis.call('HSET', job_key(job.id), 'state', 'running', 'owner', worker, 'fence', fence, 'seated', seated and 1 or '',
             'entry', entry[1])
  local rest = redis.call('HMGET', job_key(job.id), 'request', 'trace_context', 'crashes', 'losses')
  claims[#claims + 1] = {job.id, task, lane, rest[1] or '', fence, 1 + number(rest[3]) + number(rest[4]),
                         number(job.deadline_ms) - now, now - number(job.created_ms), rest[2] or ''}
  return true
end

local function take(task, room, ahead)
  local seats = room - ahead
  local left = room

  local function deliver_all(lane, entries)
    for _, entry in ipairs(entries) do
      if deliver(task, lane, entry, room - left < seats) then left = left - 1 else skipped = skipped + 1 end
    end
  end

  -- Returns how many came.
  local function take_returned(lane)
    local queue = queue_key(task, lane)
    local pending = in_group(queue, 'XPENDING', queue, GROUP, '-', '+', left, RETURNED)
    if #pending == 0 then return 0 end
    local ids = {}
    for i, item in ipairs(pending) do ids[i] = item[1] end
    local entries = {}
    for _, entry in ipairs(redis.call('XCLAIM', queue, GROUP, worker, 0, unpack(ids))) do
      if entry then entries[#entries + 1] = entry end
    end
    deliver_all(lane, entries)
    return #ids
  end

  local function take_new(lane, count)
    local queue = queue_key(task, lane)
    local batch = in_group(queue, 'XREADGROUP', 'GROUP', GROUP, worker, 'COUNT', count, 'STREAMS', queue, '>')
    local entries = batch and batch[1][2] or {}
    deliver_all(lane, entries)
    return #entries
  end

  for _, lane in ipairs(LANES) do
    while left > 0 and skipped < MOST_SKIPPED and take_returned(lane) > 0 do end
  end

  -- After high_per_normal of the high lane comes one of the normal lane, also across takes.
  local in_a_row = number(redis.call('HGET', task_key(task), 'high_in_a_row'))
  local before = in_a_row
  local more = {high = true, normal = true}
  while left > 0 and skipped < MOST_SKIPPED and (more.high or more.normal) do
    local normal = not more.high or (more.normal and in_a_row >= high_per_normal)
    if normal then
      local wanted = more.high and 1 or left
      more.normal = take_new('normal', wanted) == wanted
      in_a_row = 0
    else
      local wanted = more.normal and math.min(left, high_per_normal - in_a_row) or left
      local came = take_new('high', wanted)
      more.high = came == wanted
      in_a_row = math.min(in_a_row + came, high_per_normal)
    end
  end
  if in_a_row ~= before then redis.call('HSET', task_key(task), 'high_in_a_row', in_a_row) end

  if left > 0 and skipped < MOST_SKIPPED then
    for _, lane in ipairs(LANES) do
      marks[#marks + 1] = {queue_key(task, lane), last_delivered(queue_key(task, lane))}
    end
    local last = redis.call('XREVRANGE', nudge_key(task), '+', '-', 'COUNT', 1)[1]
    marks[#marks + 1] = {nudge_key(task), last and last[1] or '0-0'}
  end
end

for i = 5, #ARGV, 3 do
  local room = tonumber(ARGV[i + 1])
  if room > 0 then take(ARGV[i], room, tonumber(ARGV[i + 2])) end
end

local flat = {}
for task, events in pairs(counts) do
  for event, times in pairs(events) do flat[#flat + 1] = {task, event, times} end
end
return {claims, marks, flat}
