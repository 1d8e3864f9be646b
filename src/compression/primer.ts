/**
 * What tfjs usually writes as topology, in its own order. The text model reads it first, so that a topology costs little
 * more than what is unusual in it. Part of the format: a change needs a new version number.
 */

const nulls = (names: string): string => names.split(' ').map((name) => `"${name}":null,`).join('');
const spread = (kind: string): string =>
  `"${kind}_initializer":{"class_name":"VarianceScaling","config":{"scale":1,"mode":"fan_avg","distribution":"normal","seed":null}},`;
const dense = (units: string, activation: string, index: number, rest: string): string =>
  `{"class_name":"Dense","config":{"units":${units},"activation":"${activation}","use_bias":true,${nulls(
    'kernel_regularizer bias_regularizer activity_regularizer kernel_constraint bias_constraint',
  )}"name":"dense_Dense${index}","trainable":true${rest}}}`;
const spec = (name: string, shape: string): string => `{"name":"${name}","shape":[${shape}],"dtype":"float32"}`;

export const PRIMER =
  '"userDefinedMetadata":{"group":"optimizer"},"signature":{"inputs":{},"outputs":{}},"dtype":"int32","complex64","bool","string"' +
  '"trainingConfig":{"loss":"categorical_crossentropy","mean_squared_error","metrics":["accuracy"],"optimizer_config":{"class_name":"Adam","config":{"learningRate":0.001,"beta1":0.9,"beta2":0.999,"epsilon":1e-7}}},"iter"' +
  '{"class_name":"GmmPrior","config":{}},{"class_name":"L1L2","config":{"l1":0.01,"l2":0.01}}' +
  `"kernel_size":[3,3],"strides":[1,1],"padding":"same","valid","data_format":"channels_last","dilation_rate":[1,1],"depth_multiplier":1,${spread('depthwise')}${spread('recurrent')}${spread('kernel')}"bias_initializer":{"class_name":"Zeros","config":{}},"pointwise_` +
  `{"class_name":"Embedding","config":{"input_dim":1000,"output_dim":32,"embeddings_initializer":{"class_name":"RandomUniform","config":{"minval":-0.05,"maxval":0.05,"seed":null}},${nulls('embeddings_regularizer activity_regularizer embeddings_constraint mask_zero input_length')}"name":"embedding_Embedding1","bidirectional_Bidirectional1","merge_mode":"concat","layer":` +
  `{"class_name":"LSTM","config":{"name":"lstm_LSTM1","trainable":true,"units":64,"activation":"tanh","recurrent_activation":"hard_sigmoid","use_bias":true,"unit_forget_bias":true,${nulls('kernel_regularizer recurrent_regularizer bias_regularizer activity_regularizer kernel_constraint recurrent_constraint bias_constraint')}"dropout":0,"recurrent_dropout":0,"implementation":null,"return_sequences":false,"return_state":false,"go_backwards":false,"stateful":false,"unroll":false,"reset_after":false,"GRU","SimpleRNN"` +
  `{"modelTopology":{"class_name":"Model","config":{"name":"model1","layers":[{"name":"input1","class_name":"InputLayer","config":{"batch_input_shape":[null,28,28,1],"dtype":"float32","sparse":false,"name":"input1"},"inbound_nodes":[]},{"name":"conv2d_Conv2D1","class_name":"Conv2D","config":{"filters":32,${nulls('kernel_regularizer kernel_constraint')}"kernel_size":[3,3],"strides":[1,1],"padding":"valid","data_format":"channels_last","dilation_rate":[1,1],"activation":"relu","use_bias":true,${nulls('bias_regularizer activity_regularizer bias_constraint')}"name":"conv2d_Conv2D1","trainable":true},"inbound_nodes":[[["input1",0,0,{}]]]},` +
  `{"name":"batch_normalization_BatchNormalization1","class_name":"BatchNormalization","config":{"axis":-1,"momentum":0.99,"epsilon":0.001,"center":true,"scale":true,${nulls('beta_regularizer gamma_regularizer beta_constraint gamma_constraint')}"name":"batch_normalization_BatchNormalization1","trainable":true},"inbound_nodes":[[["conv2d_Conv2D1",0,0,{}]]]},` +
  `{"name":"max_pooling2d_MaxPooling2D1","class_name":"MaxPooling2D","config":{"pool_size":[2,2],"padding":"valid","strides":[2,2],"data_format":"channels_last","name":"max_pooling2d_MaxPooling2D1","trainable":true},"inbound_nodes":[[["average_pooling2d_AveragePooling2D1","global_average_pooling2d_GlobalAveragePooling2D1","depthwise_conv2d_DepthwiseConv2D1","separable_conv2d_SeparableConv2D1","layer_normalization_LayerNormalization1","concatenate_Concatenate1","add_Add1","activation_Activation1","reshape_Reshape1","target_shape":[` +
  `{"name":"dropout_Dropout1","class_name":"Dropout","config":{"rate":0.5,"noise_shape":null,"seed":null,"name":"dropout_Dropout1","trainable":true},"inbound_nodes":[[["max_pooling2d_MaxPooling2D1",0,0,{}]]]},{"name":"flatten_Flatten1","class_name":"Flatten","config":{"name":"flatten_Flatten1","trainable":true},"inbound_nodes":[[["dropout_Dropout1",0,0,{}]]]}],"input_layers":[["input1",0,0]],"output_layers":[["dense_Dense2",0,0]]},` +
  `"batch_normalization_BatchNormalization1/gamma","beta","moving_mean","moving_variance","embedding_Embedding1/embeddings","recurrent_kernel","conv2d_Conv2D1/kernel","shape":[3,3,1,32]` +
  `{"modelTopology":{"class_name":"Sequential","config":{"name":"sequential_1","layers":[${dense('256', 'sigmoid', 1, ',"batch_input_shape":[null,784],"dtype":"float32"')},${dense('128', 'relu', 2, '')},${dense('10', 'softmax', 3, '')}]},"keras_version":"tfjs-layers 4.22.0","backend":"tensor_flow.js"},` +
  `"format":"layers-model","generatedBy":"TensorFlow.js tfjs-layers v4.22.0","convertedBy":null,"weightSpecs":[${spec('dense_Dense1/kernel', '784,256')},${spec('dense_Dense1/bias', '256')},${spec('dense_Dense2/kernel', '256,128')},${spec('dense_Dense2/bias', '128')},${spec('dense_Dense3/kernel', '128,10')},${spec('dense_Dense3/bias', '10')}]}`;
