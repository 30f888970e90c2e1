-- A worker gives up claims that it did not work on: they go to the front of their lanes.
-- ARGV: worker, then id, fence for each claim

local worker = ARGV[1]
local tasks = {}
for i = 2, #ARGV, 2 do
  local job = load_job(ARGV[i])
  if job and held_by(job, worker, ARGV[i + 1]) then
    if job.cancelled ~= '' then
      settle(job, 'cancelled', '')
    else
      give_back(job)
      tasks[job.task] = true
    end
  end
end
for task in pairs(tasks) do nudge(task) end
return 1
