-- What a holder will not finish goes to the front of its lane; what crashed its holders too often is buried.
-- ARGV: dead worker ('' = all whose lease ran out), lease_ms, caller, max_crashes, max_losses, poison_problem
-- The caller's own lapsed claims are no crashes: it lives.
-- Returns for each task {task, handed over, buried, untold}. What is buried for a caller without a name, who has no
-- metrics, is told once to the next one that has: that is `untold`.

local dead, lease_ms, caller, max_crashes, max_losses, poison_problem = unpack(ARGV)
max_crashes, max_losses = tonumber(max_crashes), tonumber(max_losses)
local PAGE = 500
local CONSUMER_TTL_MS = 3600000
local handed_over, buried

-- The holders that it may have killed: a job that was only fetched ahead is let off nearly always. Nearly, because a
-- worker may die before it could say that it had seated the job.
local function is_poison(job, holder)
  if holder == caller then return false end
  local seated = job.seated ~= ''
  local times = redis.call('HINCRBY', job_key(job.id), seated and 'crashes' or 'losses', 1)
  return times >= (seated and max_crashes or max_losses)
end

local function hand_over(task, lane, entry, holder)
  local queue = queue_key(task, lane)
  local body = redis.call('XRANGE', queue, entry, entry)[1]
  local job = body and load_job(body[2][2] or '')
  if not job or FINAL[job.state] then
    drop_entry(queue, entry)
    return
  end
  job.task, job.lane, job.entry = task, lane, entry
  if job.cancelled ~= '' then
    settle(job, 'cancelled', '')
  elseif job.state == 'running' and is_poison(job, holder) then
    bury(job, job.seated ~= '' and 'crashed its workers' or 'its workers crashed before they began', poison_problem)
    buried = buried + 1
  else
    give_back(job)
    handed_over = handed_over + 1
  end
end

local function abandoned(queue, first)
  if dead ~= '' then return in_group(queue, 'XPENDING', queue, GROUP, first, '+', PAGE, dead) end
  return in_group(queue, 'XPENDING', queue, GROUP, 'IDLE', lease_ms, first, '+', PAGE)
end

local function hand_over_all(task, lane, queue)
  local first = '-'
  repeat
    local page = abandoned(queue, first)
    for _, item in ipairs(page) do
      first = '(' .. item[1]
      if item[2] ~= RETURNED then hand_over(task, lane, item[1], item[2]) end
    end
  until #page < PAGE
end

-- Consumers that are gone would pile up; one that is deleted by mistake is made again by its next take.
local function forget_consumers(queue)
  for _, info in ipairs(redis.call('XINFO', 'CONSUMERS', queue, GROUP)) do
    local consumer = {}
    for i = 1, #info, 2 do consumer[info[i]] = info[i + 1] end
    local gone = consumer.name == dead or (consumer.name ~= RETURNED and consumer.idle > CONSUMER_TTL_MS)
    if gone and consumer.pending == 0 then redis.call('XGROUP', 'DELCONSUMER', queue, GROUP, consumer.name) end
  end
end

local counts = {}
for _, task in ipairs(redis.call('SMEMBERS', tasks_key)) do
  handed_over, buried = 0, 0
  for _, lane in ipairs(LANES) do
    local queue = queue_key(task, lane)
    hand_over_all(task, lane, queue)
    forget_consumers(queue)
  end
  if handed_over > 0 then nudge(task) end
  local untold = 0
  if caller == '' then
    if buried > 0 then redis.call('HINCRBY', task_key(task), 'untold', buried) end
  else
    untold = number(redis.call('HGET', task_key(task), 'untold'))
    if untold > 0 then redis.call('HDEL', task_key(task), 'untold') end
  end
  counts[#counts + 1] = {task, handed_over, buried, untold}
end
if dead ~= '' then
  redis.call('ZREM', workers_key, dead)
  redis.call('HDEL', descriptions_key, dead)
end
return counts
