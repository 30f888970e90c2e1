-- What waits in both lanes of tasks.
-- ARGV: tasks
-- Returns for each lane {task, lane, waiting, age of the oldest in ms}.

local function entry_ms(entry) return tonumber(string.match(entry, '^%d+')) end

local function oldest_ms(queue)
  local returned = redis.call('XPENDING', queue, GROUP, '-', '+', 1, RETURNED)[1]
  if returned then return entry_ms(returned[1]) end
  local first = redis.call('XRANGE', queue, '(' .. last_delivered(queue), '+', 'COUNT', 1)[1]
  return first and entry_ms(first[1])
end

local depths = {}
for _, task in ipairs(ARGV) do
  for _, lane in ipairs(LANES) do
    local queue = queue_key(task, lane)
    local count = waiting(queue)
    local oldest = count > 0 and oldest_ms(queue)
    depths[#depths + 1] = {task, lane, count, oldest and math.max(now - oldest, 0) or 0}
  end
end
return depths
