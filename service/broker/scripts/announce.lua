-- A worker says that it lives, or (with no lease) that it leaves.
-- ARGV: worker, lease_ms, description

local worker, lease_ms, description = ARGV[1], tonumber(ARGV[2]), ARGV[3]
if lease_ms > 0 then
  redis.call('ZADD', workers_key, now + lease_ms, worker)
  redis.call('HSET', descriptions_key, worker, description)
else
  redis.call('ZREM', workers_key, worker)
  redis.call('HDEL', descriptions_key, worker)
end
return 1
