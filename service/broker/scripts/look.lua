-- Jobs as they stand. One that still waits after its deadline has failed: no take would deliver it.
-- ARGV: deadline_problem, then ids
-- Returns for each {task, state, caller, payload, created_ms}, or {} where its record is gone.

local found = {}
for i = 2, #ARGV do
  local job = load_job(ARGV[i])
  if not job then
    found[#found + 1] = {}
  else
    if job.state == 'queued' and overdue(job) then
      end_job(job, 'failed', ARGV[1])
      job.state = 'failed'
    end
    local payload = FINAL[job.state] and redis.call('HGET', job_key(job.id), 'payload') or ''
    found[#found + 1] = {job.task, job.state, job.caller, payload, job.created_ms}
  end
end
return found
