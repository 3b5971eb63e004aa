-- The health of a ModelService for Argo CD, from its conditions. They follow kstatus: Reconciling and Stalled are there
-- only while they are True.
local health = {status = "Progressing", message = "the operator has not reported on this object yet"}

if obj.metadata.deletionTimestamp ~= nil then
  health.message = "it is being deleted"
  return health
end

if obj.status == nil or obj.status.conditions == nil then
  return health
end

if obj.status.observedGeneration ~= obj.metadata.generation then
  health.message = "the operator has not acted on the newest change yet"
  return health
end

local conditions = {}
for _, condition in ipairs(obj.status.conditions) do
  conditions[condition.type] = condition
end

local ready, available, stalled = conditions.Ready, conditions.Available, conditions.Stalled
if stalled ~= nil and stalled.status == "True" then
  health.status = "Degraded"
  health.message = stalled.message
elseif available ~= nil and available.reason == "ScaledToZero" then
  health.status = "Suspended"
  health.message = available.message
elseif ready ~= nil then
  if ready.status == "True" then
    health.status = "Healthy"
  end
  health.message = ready.message
end
return health
