-- Publish endings; the first writer wins.
-- ARGV: worker, then id, fence, state, payload for each ending
-- Returns for each ending: 1 it stands, 0 somebody else was first or the claim was lost.

local worker = ARGV[1]
local verdicts, ended = {}, {}
for i = 2, #ARGV, 4 do
  local id, fence, state, payload = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local job = load_job(id)
  local mine = job and job.owner == worker and job.fence == fence
  local verdict = 0
  if mine and not FINAL[job.state] then
    -- Also where the lease ran out and nobody took the job since: the answer is as good as any.
    if job.cancelled ~= '' then
      settle(job, 'cancelled', '')
      verdict = state == 'cancelled' and 1 or 0
    else
      settle(job, state, payload)
      verdict = 1
      ended[job.task] = (ended[job.task] or 0) + 1
    end
  elseif mine and job.state == state then
    verdict = 1  -- the same call again, because its reply was lost
  end
  verdicts[#verdicts + 1] = verdict
end

-- The completion rate, for Retry-After: a count that fades, and since when it counts.
for task, count in pairs(ended) do
  local rate = redis.call('HMGET', task_key(task), 'ended', 'ended_ms')
  local before = number(rate[1]) * math.exp(-(now - number(rate[2])) / RATE_MEMORY_MS)
  if before < 0.5 then
    before = 0
    redis.call('HSET', task_key(task), 'since_ms', now)
  end
  redis.call('HSET', task_key(task), 'ended', before + count, 'ended_ms', now)
end
return verdicts
