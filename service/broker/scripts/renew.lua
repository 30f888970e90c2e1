-- Extend the leases of claims. A cancelled one ends here.
-- ARGV: worker, then id, fence, whether it sits in a slot (1 or 0) for each claim
-- Returns {ids that are no longer this worker's, ids that were cancelled}.

local worker = ARGV[1]
local lost, cancelled = {}, {}
for i = 2, #ARGV, 3 do
  local id = ARGV[i]
  local job = load_job(id)
  if not job or not held_by(job, worker, ARGV[i + 1]) then
    lost[#lost + 1] = id
  elseif job.cancelled ~= '' then
    settle(job, 'cancelled', '')
    cancelled[#cancelled + 1] = id
  else
    local queue = queue_key(job.task, job.lane)
    in_group(queue, 'XCLAIM', queue, GROUP, worker, 0, job.entry, 'JUSTID')
    redis.call('HSET', job_key(id), 'seated', ARGV[i + 2] == '1' and 1 or '')
  end
end
return {lost, cancelled}
