{{- /* CEL: where a container's program is chosen, and what is chosen there. The argument is object or oldObject. */ -}}
{{- define "springtide.runtimes" -}}
([{'at': dyn('spec'), 'runtime': has({{ . }}.spec.runtime) ? dyn({{ . }}.spec.runtime) : dyn({})}] +
{{ . }}.spec.pools.map(pool, {'at': dyn('spec.pools[' + pool.name + ']'),
  'runtime': has(pool.runtime) ? dyn(pool.runtime) : dyn({})}))
.map(one, {'at': one.at,
  'name': dyn(one.runtime.?name.orValue('')),
  'image': dyn(one.runtime.?image.orValue('')),
  'command': dyn(one.runtime.?command.orValue([])),
  'args': dyn(one.runtime.?args.orValue([])),
  'env': dyn(one.runtime.?env.orValue([])),
  'plain': dyn(!(['image', 'command', 'args', 'env'].exists(name, name in one.runtime && size(one.runtime[name]) > 0)))})
{{- end -}}

{{- /* CEL: the claims that are mounted. */ -}}
{{- define "springtide.claims" -}}
([{'at': 'spec.model.uri', 'uri': string({{ . }}.spec.model.uri)},
  {'at': 'spec.cache.claimName', 'uri': 'pvc://' + string({{ . }}.spec.?cache.?claimName.orValue(''))}] +
{{ . }}.spec.pools.map(pool,
  {'at': 'spec.pools[' + pool.name + '].model.uri', 'uri': string(pool.?model.?uri.orValue(''))}))
.filter(one, one.uri.startsWith('pvc://') && one.uri != 'pvc://')
{{- end -}}

{{- /* CEL: the Secrets that are used, each with the model that it is used for. */ -}}
{{- define "springtide.secrets" -}}
([{'at': 'spec.model', 'name': string({{ . }}.spec.model.?credentialsSecretName.orValue('')),
   'uri': string({{ . }}.spec.model.uri)}] +
{{ . }}.spec.pools.map(pool, {'at': 'spec.pools[' + pool.name + '].model',
  'name': string(pool.?model.?credentialsSecretName.orValue('')),
  'uri': string(pool.?model.?uri.orValue({{ . }}.spec.model.uri))}))
.filter(one, one.name != '')
{{- end -}}

{{- /* CEL: the images that are named: of runtimes, and of models. */ -}}
{{- define "springtide.pulled" -}}
([{'at': 'spec.runtime.image', 'image': string({{ . }}.spec.?runtime.?image.orValue(''))},
  {'at': 'spec.model.uri', 'image': !{{ . }}.spec.model.uri.startsWith('oci://') ? '' :
    string({{ . }}.spec.model.uri).replace('oci://', '', 1) + (!has({{ . }}.spec.model.revision) ? '' :
    ({{ . }}.spec.model.revision.startsWith('sha256:') ? '@' : ':') + string({{ . }}.spec.model.revision))}] +
{{ . }}.spec.pools.map(pool, {'at': 'spec.pools[' + pool.name + '].runtime.image',
  'image': string(pool.?runtime.?image.orValue(''))}) +
{{ . }}.spec.pools.map(pool, {'at': 'spec.pools[' + pool.name + '].model.uri',
  'image': !string(pool.?model.?uri.orValue('')).startsWith('oci://') ? '' :
    string(pool.model.uri).replace('oci://', '', 1) + (pool.model.?revision.orValue('') == '' ? '' :
    (string(pool.model.revision).startsWith('sha256:') ? '@' : ':') + string(pool.model.revision))}) +
{{ . }}.spec.pools.map(pool, {'at': 'spec.pools[' + pool.name + '].model.revision',
  'image': pool.?model.?revision.orValue('') == '' || pool.?model.?uri.orValue('') != '' ||
    !{{ . }}.spec.model.uri.startsWith('oci://') ? '' : string({{ . }}.spec.model.uri).replace('oci://', '', 1) +
    (string(pool.model.revision).startsWith('sha256:') ? '@' : ':') + string(pool.model.revision)}))
.filter(one, one.image != '')
{{- end -}}
