/**
 * What tfjs usually writes as topology, in its own order. The text model reads it first, so that a topology costs little
 * more than what is unusual in it. Part of the format: a change needs a new version number. Kept short: it is a seventh
 * of the loader.
 */

const dense = (index: number, activation: string): string =>
  `{"class_name":"Dense","config":{"units":${index}0,"activation":"${activation}","use_bias":true,"kernel_regularizer":null,` +
  '"bias_regularizer":null,"activity_regularizer":null,"kernel_constraint":null,"bias_constraint":null,' +
  `"name":"dense_Dense${index}","trainable":true`;
const weights = (index: number, shape: string): string =>
  `{"name":"dense_Dense${index}/kernel","shape":[${shape}],"dtype":"float32"},{"name":"dense_Dense${index}/bias","shape":[${index}0],"dtype":"float32"}`;

export const PRIMER =
  '' +
  '"kernel_initializer":{"class_name":"VarianceScaling","config":{"scale":1,"mode":"fan_avg","distribution":"{"modelTopology":{"class_name":"Model","config":{"name":"model1","layers":[{"name":"input1","class_name":"InputLayer","config":{"batch_input_shape":[null,28,28,1],"dtype":"float32","sparse":false,"name":"input1"},"inbound_nodes":[]},' +
  '{"name":"conv2d_Conv2D1","class_name":"Conv2D","config":{"filters":32,"kernel_size":[3,3],"strides":[1,1],"padding":"valid","data_format":"channels_last","dilation_rate":[1,1],"activation":"linear","name":"conv2d_Conv2D1","trainable":true},"inbound_nodes":[[["input1",0,0,{}]]]},' +
  '"batch_normalization_BatchNormalization1","axis":-1,"momentum":0.99,"epsilon":0.001,"center":true,"scale":true,"/gamma/beta/moving_mean/moving_variance' +
  '"max_pooling2d_MaxPooling2D1","pool_size":[2,2],"dropout_Dropout1","rate":0.5,"noise_shape":null,"flatten_Flatten1","input_layers":[["input1",0,0]],"output_layers":[["embedding_Embedding1/embeddings","lstm_LSTM1/recurrent_kernel' +
  `{"modelTopology":{"class_name":"Sequential","config":{"name":"sequential_1","layers":[${dense(1, 'relu')},"batch_input_shape":[null,784],"dtype":"float32"}},${dense(2, 'relu')}}},${dense(3, 'softmax')}}}` +
  ']},"keras_version":"tfjs-layers 4.22.0","backend":"tensor_flow.js"},"format":"layers-model","generatedBy":"TensorFlow.js tfjs-layers v4.22.0","convertedBy":null,"weightSpecs":[' +
  `${weights(1, '784,10')},${weights(2, '10,20')},${weights(3, '20,30')}`;
