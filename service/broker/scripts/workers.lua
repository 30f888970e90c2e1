-- The living workers; the others are forgotten.
-- Returns for each {worker, description, lease left in ms}.

for _, gone in ipairs(redis.call('ZRANGEBYSCORE', workers_key, '-inf', now)) do
  redis.call('ZREM', workers_key, gone)
  redis.call('HDEL', descriptions_key, gone)
end
local alive = {}
local ends = redis.call('ZRANGE', workers_key, 0, -1, 'WITHSCORES')
for i = 1, #ends, 2 do
  alive[#alive + 1] = {ends[i], redis.call('HGET', descriptions_key, ends[i]) or '{}', ends[i + 1] - now}
end
return alive
