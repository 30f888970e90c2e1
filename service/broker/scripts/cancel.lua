-- Mark a job as cancelled. One that waits has ended with that, and the take that comes upon its entry drops it; one that
-- runs ends when its worker comes to the next segment.
-- ARGV: id
-- Returns 1 where it is cancelled, 0 where it ended otherwise or is not known.

local job = load_job(ARGV[1])
if not job then return 0 end
if FINAL[job.state] then return job.state == 'cancelled' and 1 or 0 end
redis.call('HSET', job_key(job.id), 'cancelled', 1)
if job.state == 'queued' then
  end_job(job, 'cancelled', '')
else
  redis.call('PUBLISH', control_channel, cjson.encode({format_version = FORMAT_VERSION, kind = 'cancel', id = job.id}))
end
return 1
